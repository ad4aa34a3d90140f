// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

/// Says how much of a token arrives when an amount is sent.
/// Never deployed: an `eth_call` puts it at an address for its own duration, and lends the address the tokens.
contract TransferProbe {
    using SafeERC20 for IERC20;

    /// What the receiver had before, and has after. A token that refuses the transfer makes it revert.
    function sent(IERC20 token, address receiver, uint256 amount) external returns (uint256 before, uint256 later) {
        before = token.balanceOf(receiver);
        token.safeTransfer(receiver, amount);
        later = token.balanceOf(receiver);
    }
}
