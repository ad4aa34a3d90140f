// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {BoolToken, MiniToken} from "./MiniToken.sol";

/// Calls back in the middle of a transfer, as ERC-777 tokens do; and on receipt of the native coin.
contract HookToken is BoolToken {
    address public target;
    bytes public data;
    bool public called;
    bool public succeeded;
    bytes public answer;

    constructor(string memory name_, string memory symbol_, uint8 decimals_) MiniToken(name_, symbol_, decimals_) {}

    receive() external payable {
        _hook();
    }

    /// The next transfer (or receipt of coins) calls `target_` with `data_` once and records what came back.
    function arm(address target_, bytes calldata data_) external {
        target = target_;
        data = data_;
        called = false;
    }

    function _transfer(address from, address to, uint256 amount) internal override {
        _hook();
        super._transfer(from, to, amount);
    }

    function _hook() private {
        if (target == address(0) || called) return;
        called = true;
        (succeeded, answer) = target.call(data);
    }
}
