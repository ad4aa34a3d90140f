// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {MiniToken} from "./MiniToken.sol";

/// Like USDT on Ethereum: no return values, and an allowance must be zero before it is set to something else.
contract NoReturnToken is MiniToken {
    constructor(string memory name_, string memory symbol_, uint8 decimals_) MiniToken(name_, symbol_, decimals_) {}

    function approve(address spender, uint256 amount) external {
        require(amount == 0 || allowance[msg.sender][spender] == 0, "reset the allowance first");
        _approve(spender, amount);
    }

    function transfer(address to, uint256 amount) external {
        _transfer(msg.sender, to, amount);
    }

    function transferFrom(address from, address to, uint256 amount) external {
        _spend(from, amount);
        _transfer(from, to, amount);
    }
}
