// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

import {Checkout} from "../Checkout.sol";
import {Order} from "../Order.sol";

/// Does several things in one transaction.
contract Many {
    using SafeERC20 for IERC20;

    error CallFailed(uint256 index, bytes answer);

    /// Pays every order with the caller's money: tokens by an allowance to this contract, coins by the call's value.
    function burst(Checkout checkout, Order[] calldata orders, bytes[] calldata signatures) external payable {
        for (uint256 i = 0; i < orders.length; ++i) {
            if (orders[i].token == checkout.NATIVE()) {
                checkout.pay{value: orders[i].amount}(orders[i], signatures[i]);
                continue;
            }
            IERC20 token = IERC20(orders[i].token);
            token.safeTransferFrom(msg.sender, address(this), orders[i].amount);
            token.forceApprove(address(checkout), orders[i].amount);
            checkout.pay(orders[i], signatures[i]);
        }
    }

    function multicall(address[] calldata targets, uint256[] calldata values, bytes[] calldata data)
        external
        payable
    {
        for (uint256 i = 0; i < targets.length; ++i) {
            (bool done, bytes memory answer) = targets[i].call{value: values[i]}(data[i]);
            if (!done) revert CallFailed(i, answer);
        }
    }
}
