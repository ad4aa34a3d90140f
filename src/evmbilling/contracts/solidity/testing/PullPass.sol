// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

/// Sells months as somebody else would have written it, and lets anybody take the next one from whoever has agreed to
/// that, for the vault and up to the sum that they named.
contract PullPass {
    using SafeERC20 for IERC20;

    IERC20 public immutable token;
    mapping(address payer => mapping(address vault => uint256)) public most;

    event Paid(bytes32 indexed tag, address indexed payer, uint256 amount);
    event Agreed(bytes32 indexed name, address indexed payer, uint256 most);
    event Left(bytes32 indexed name, address indexed payer);

    constructor(IERC20 token_) {
        token = token_;
    }

    function join(bytes32 tag, address vault, uint256 price) external {
        token.safeTransferFrom(msg.sender, vault, price);
        emit Paid(tag, msg.sender, price);
    }

    function take(bytes32 tag, address payer, address vault, uint256 price) external {
        require(price <= most[payer][vault], "not agreed to");
        token.safeTransferFrom(payer, vault, price);
        emit Paid(tag, payer, price);
    }

    function agree(address vault, uint256 most_) external {
        most[msg.sender][vault] = most_;
        emit Agreed(nameOf(msg.sender, vault), msg.sender, most_);
    }

    function resign(address vault) external {
        delete most[msg.sender][vault];
        emit Left(nameOf(msg.sender, vault), msg.sender);
    }

    /// Only says that somebody has agreed, in anybody's name.
    function pretend(address payer, uint256 most_) external {
        emit Agreed(nameOf(payer, msg.sender), payer, most_);
    }

    function nameOf(address payer, address vault) public pure returns (bytes32) {
        return keccak256(abi.encode(payer, vault));
    }
}
