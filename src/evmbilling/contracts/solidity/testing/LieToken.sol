// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {BoolToken, MiniToken} from "./MiniToken.sol";

/// Logs and returns what a payment would, and moves nothing.
contract LieToken is BoolToken {
    event Paid(
        bytes32 indexed reference_,
        uint256 indexed subscription,
        address indexed payer,
        address beneficiary,
        bytes32 plan,
        address token,
        uint256 amount,
        address treasury,
        uint64 memberUntil
    );

    constructor(string memory name_, string memory symbol_, uint8 decimals_) MiniToken(name_, symbol_, decimals_) {}

    function lie(
        bytes32 reference_,
        uint256 subscription,
        address payer,
        address beneficiary,
        bytes32 plan,
        address token,
        uint256 amount,
        address treasury,
        uint64 memberUntil
    ) external {
        emit Transfer(payer, treasury, amount);
        emit Paid(reference_, subscription, payer, beneficiary, plan, token, amount, treasury, memberUntil);
    }

    function _transfer(address from, address to, uint256 amount) internal override {
        emit Transfer(from, to, amount);
    }
}
