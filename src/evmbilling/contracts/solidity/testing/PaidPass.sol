// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";

import {IERC5643} from "../IERC5643.sol";

/// A subscription NFT (ERC-5643) that is renewed by whoever pays its price in the native coin, which goes on to the
/// vault at once. The first renewal of a number mints it.
contract PaidPass is ERC721, IERC5643 {
    address payable public immutable vault;
    mapping(uint256 tokenId => uint64) public expiresAt;

    event PassPaid(uint256 indexed tokenId, address indexed payer, uint256 amount, address vault);

    constructor(address payable vault_) ERC721("Pass", "PASS") {
        vault = vault_;
    }

    function renewSubscription(uint256 tokenId, uint64 duration) external payable {
        require(msg.value != 0, "nothing is paid");
        if (_ownerOf(tokenId) == address(0)) _mint(msg.sender, tokenId);
        uint64 from = expiresAt[tokenId] > block.timestamp ? expiresAt[tokenId] : uint64(block.timestamp);
        expiresAt[tokenId] = from + duration;
        (bool sent,) = vault.call{value: msg.value}("");
        require(sent, "the vault takes no coin");
        emit PassPaid(tokenId, msg.sender, msg.value, vault);
        emit SubscriptionUpdate(tokenId, expiresAt[tokenId]);
    }

    function cancelSubscription(uint256 tokenId) external payable {
        require(msg.sender == _ownerOf(tokenId) && msg.value == 0, "not yours");
        delete expiresAt[tokenId];
        _burn(tokenId);
        emit SubscriptionUpdate(tokenId, 0);
    }

    function isRenewable(uint256) external pure returns (bool) {
        return true;
    }

    function supportsInterface(bytes4 id) public view override returns (bool) {
        return id == type(IERC5643).interfaceId || super.supportsInterface(id);
    }
}
