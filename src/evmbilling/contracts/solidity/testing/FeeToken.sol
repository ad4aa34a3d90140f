// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {BoolToken, MiniToken} from "./MiniToken.sol";

/// Keeps a fee of each transfer while its log tells the full amount. The fee starts at 1 %.
contract FeeToken is BoolToken {
    uint256 public feeBasisPoints = 100;

    constructor(string memory name_, string memory symbol_, uint8 decimals_) MiniToken(name_, symbol_, decimals_) {}

    function setFee(uint256 basisPoints) external {
        feeBasisPoints = basisPoints;
    }

    function _transfer(address from, address to, uint256 amount) internal override {
        super._transfer(from, to, amount);
        uint256 fee = amount * feeBasisPoints / 10_000;
        balanceOf[to] -= fee;
        totalSupply -= fee;
    }
}
