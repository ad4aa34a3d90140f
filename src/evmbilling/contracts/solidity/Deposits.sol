// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {Create2} from "@openzeppelin/contracts/utils/Create2.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";

import {DepositAddress} from "./DepositAddress.sol";

/// Gives every reference an address of its own for a treasury, and sweeps what was sent there to that treasury.
///
/// The address follows from this contract, the reference and the treasury (EIP-1014), so it can be paid before anything
/// is there, no key belongs to it, and its money has one way to go. Anybody may sweep, as often as there is something.
/// Nothing here has an owner, a fee or a switch.
contract Deposits is ReentrancyGuard {
    /// Stands for the native coin where a token address is expected.
    address public constant NATIVE = 0xEeeeeEeeeEeEeeEeEeEeeEEEeeeeEeeeeeeeEEeE;

    bytes32 private constant CODE_HASH = keccak256(type(DepositAddress).creationCode);

    /// `amount` is what arrived at the treasury.
    event Swept(bytes32 indexed reference_, address indexed token, address indexed treasury, uint256 amount);

    /// Less than was asked for is there, or more than twice as much.
    error NotThere(address token, uint256 held);
    error ZeroAmount();
    /// Tokens left, or said so, and none arrived.
    error NothingArrived(address token);
    error ZeroTreasury();

    /// Sends `amount` of `token` from the address of a reference and a treasury to that treasury.
    ///
    /// The amount is the caller's, and not whatever is there: so a transaction that is mined again on another branch of
    /// the chain says the same again, or fails. At least half of what is there has to go at once: nobody can take a
    /// payment apart into thousands of events.
    function sweep(bytes32 reference_, address treasury, address token, uint256 amount)
        external
        nonReentrant
        returns (uint256 received)
    {
        if (treasury == address(0)) revert ZeroTreasury();
        if (amount == 0) revert ZeroAmount();
        address payable deposit = payable(addressOf(reference_, treasury));
        uint256 held = token == NATIVE ? deposit.balance : IERC20(token).balanceOf(deposit);
        if (held < amount || held - amount > amount) revert NotThere(token, held);
        if (deposit.code.length == 0) new DepositAddress{salt: _salt(reference_, treasury)}();
        if (token == NATIVE) {
            _act(deposit, treasury, amount, "");
            received = amount;
        } else {
            uint256 before = IERC20(token).balanceOf(treasury);
            _act(deposit, token, 0, abi.encodeCall(IERC20.transfer, (treasury, amount)));
            uint256 current = IERC20(token).balanceOf(treasury);
            if (current <= before) revert NothingArrived(token);
            received = current - before;
        }
        emit Swept(reference_, token, treasury, received);
    }

    /// The address to which a reference is paid for a treasury; nothing has to be there.
    function addressOf(bytes32 reference_, address treasury) public view returns (address) {
        return Create2.computeAddress(_salt(reference_, treasury), CODE_HASH);
    }

    function _salt(bytes32 reference_, address treasury) private pure returns (bytes32) {
        return keccak256(abi.encode(reference_, treasury));
    }

    /// Lets a deposit address call; what was refused there is refused here, in the same words.
    function _act(address deposit, address to, uint256 value, bytes memory data) private {
        (bool done, bytes memory answer) = deposit.call(abi.encodePacked(abi.encode(to, value), data));
        if (done) return;
        assembly ("memory-safe") {
            revert(add(answer, 32), mload(answer))
        }
    }
}
