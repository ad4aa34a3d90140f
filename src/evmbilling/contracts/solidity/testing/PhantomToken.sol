// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {BoolToken, MiniToken} from "./MiniToken.sol";

/// Has no `permit`, and a fallback that swallows every unknown call: calling `permit` "succeeds" and does nothing.
contract PhantomToken is BoolToken {
    constructor(string memory name_, string memory symbol_, uint8 decimals_) MiniToken(name_, symbol_, decimals_) {}

    fallback() external {}
}
