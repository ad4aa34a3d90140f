// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {BoolToken, MiniToken} from "./MiniToken.sol";

/// Says no by returning false: no revert, no log, no movement.
contract RetFalseToken is BoolToken {
    constructor(string memory name_, string memory symbol_, uint8 decimals_) MiniToken(name_, symbol_, decimals_) {}

    function transfer(address, uint256) external pure override returns (bool) {
        return false;
    }

    function transferFrom(address, address, uint256) external pure override returns (bool) {
        return false;
    }
}
