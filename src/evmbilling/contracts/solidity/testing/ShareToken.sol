// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {BoolToken, MiniToken} from "./MiniToken.sol";

/// Keeps a fee of each transfer and says so by a transfer of its own; a rebase changes what everybody holds, silently.
contract ShareToken is BoolToken {
    address public constant COLLECTOR = address(0xFEE);
    uint256 public feeBasisPoints;

    constructor(string memory name_, string memory symbol_, uint8 decimals_) MiniToken(name_, symbol_, decimals_) {}

    function setFee(uint256 basisPoints) external {
        feeBasisPoints = basisPoints;
    }

    function rebase(address holder, uint256 percent) external {
        balanceOf[holder] = balanceOf[holder] * percent / 100;
    }

    function _transfer(address from, address to, uint256 amount) internal override {
        uint256 fee = amount * feeBasisPoints / 10_000;
        if (fee != 0) super._transfer(from, COLLECTOR, fee);
        super._transfer(from, to, amount - fee);
    }
}
