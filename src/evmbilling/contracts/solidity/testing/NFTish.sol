// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// Emits the Transfer of ERC-721: the same topic as ERC-20's, with a fourth topic and no data.
contract NFTish {
    uint256 public count;

    event Transfer(address indexed from, address indexed to, uint256 indexed tokenId);

    function go(address to) external {
        emit Transfer(address(0), to, ++count);
    }
}
