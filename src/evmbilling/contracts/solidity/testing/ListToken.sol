// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {BoolToken, MiniToken} from "./MiniToken.sol";

/// Can be paused, and refuses addresses that somebody put on its list, as the large dollar tokens do.
contract ListToken is BoolToken {
    bool public paused;
    mapping(address account => bool) public listed;

    constructor(string memory name_, string memory symbol_, uint8 decimals_) MiniToken(name_, symbol_, decimals_) {}

    function setPaused(bool paused_) external {
        paused = paused_;
    }

    function setListed(address account, bool listed_) external {
        listed[account] = listed_;
    }

    function _transfer(address from, address to, uint256 amount) internal override {
        require(!paused, "the token is paused");
        require(!listed[from] && !listed[to], "the address is listed");
        super._transfer(from, to, amount);
    }
}
