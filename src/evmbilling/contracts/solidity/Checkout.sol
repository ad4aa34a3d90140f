// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

import {Membership} from "./Membership.sol";
import {Order} from "./Order.sol";
import {Roles} from "./Roles.sol";

/// Takes payment for signed orders and passes it on to the order's treasury in the same call. It keeps nothing.
///
/// An order is paid at most once, in full, in time, by whom it allows, or the call reverts with the reason.
/// One `Paid` event per payment; its indexed reference tells the billing engine which order it was.
contract Checkout is Membership, EIP712, ReentrancyGuard {
    using SafeERC20 for IERC20;

    /// Stands for the native coin where a token address is expected.
    address public constant NATIVE = 0xEeeeeEeeeEeEeeEeEeEeeEEEeeeeEeeeeeeeEEeE;

    bytes32 private constant ORDER_TYPEHASH = keccak256(
        "Order(bytes32 reference,uint256 subscription,address payer,address beneficiary,bytes32 plan,"
        "address token,uint256 amount,address treasury,uint64 memberUntil,uint64 deadline)"
    );

    // Who received the money of a used reference. Never zero for a used one, so it is the "used" mark as well,
    // and it costs the same slot as a boolean would.
    mapping(bytes32 reference_ => address treasury) private _paidTo;
    mapping(bytes32 refundId => bool) private _refunded;

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
    event Refunded(
        bytes32 indexed reference_, bytes32 indexed refundId, address indexed to, address token, uint256 amount
    );
    event Rescued(address indexed token, address indexed to, uint256 amount);

    error ZeroAmount();
    error ZeroTreasury();
    error ZeroBeneficiary();
    error ZeroRecipient();
    /// Money sent to this contract would stay in it.
    error SelfRecipient();
    /// An expiry is offered, but no membership that could carry it.
    error ExpiryWithoutMembership();
    error ReferenceUsed(bytes32 reference_);
    error ReferenceNotPaid(bytes32 reference_);
    error RefundIdUsed(bytes32 refundId);
    /// Refunds come from the operator, the owner, or the treasury that received the payment.
    error NotRefunder(address caller);
    error OrderLate(uint64 deadline);
    error WrongPayer(address expected, address caller);
    /// There is no contract at the token's address.
    error NotAToken(address token);
    error AllowanceTooLow(uint256 allowance, uint256 needed);
    /// Less arrived than was asked for: a fee on transfers, or a token that only says it moved.
    error ShortReceipt(uint256 expected, uint256 received);
    error NativeTransferFailed(address to);

    constructor(
        address owner,
        address operator,
        address[] memory signers,
        string memory name,
        string memory symbol
    ) ERC721(name, symbol) EIP712("evmbilling Checkout", "1") Roles(owner, operator, signers) {}

    /// Pays `order` with the caller's money: tokens by the caller's allowance, or the native coin as the call's value.
    function pay(Order calldata order, bytes calldata signature) external payable nonReentrant whenNotPaused {
        _accept(order, signature);
        _move(order.token, order.treasury, order.amount);
        _emitPaid(order);
    }

    /// `pay` after an ERC-2612 permit from the caller to this contract. Anyone may have submitted that permit before,
    /// so a failing one is no reason to stop; the allowance that results is what counts.
    function payWithPermit(
        Order calldata order,
        bytes calldata signature,
        uint256 permitValue,
        uint256 permitDeadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external nonReentrant whenNotPaused {
        _accept(order, signature);
        _requireToken(order.token);
        try IERC20Permit(order.token).permit(msg.sender, address(this), permitValue, permitDeadline, v, r, s) {}
        catch {}
        uint256 allowance = IERC20(order.token).allowance(msg.sender, address(this));
        if (allowance < order.amount) revert AllowanceTooLow(allowance, order.amount);
        _move(order.token, order.treasury, order.amount);
        _emitPaid(order);
    }

    /// Sends the caller's money to `to` and says on chain which payment it gives back. `refundId` works once, so a
    /// retried transaction cannot refund twice. Works while paused. It bounds neither amount nor token: the engine does.
    function refund(bytes32 reference_, bytes32 refundId, address token, address to, uint256 amount)
        external
        payable
        nonReentrant
    {
        address treasury = _paidTo[reference_];
        if (treasury == address(0)) revert ReferenceNotPaid(reference_);
        if (msg.sender != treasury && !_isOperator(msg.sender)) revert NotRefunder(msg.sender);
        if (_refunded[refundId]) revert RefundIdUsed(refundId);
        if (amount == 0) revert ZeroAmount();
        if (to == address(0)) revert ZeroRecipient();
        if (to == address(this)) revert SelfRecipient();
        _refunded[refundId] = true;
        _move(token, to, amount);
        emit Refunded(reference_, refundId, to, token, amount);
    }

    /// Sends on what reached this contract by mistake or by force; payments never rest here. Owner only.
    function rescue(address token, address to) external onlyOwner nonReentrant {
        if (to == address(0)) revert ZeroRecipient();
        if (to == address(this)) revert SelfRecipient();
        uint256 amount;
        if (token == NATIVE) {
            amount = address(this).balance;
            _sendNative(to, amount);
        } else {
            _requireToken(token);
            amount = IERC20(token).balanceOf(address(this));
            IERC20(token).safeTransfer(to, amount);
        }
        emit Rescued(token, to, amount);
    }

    function isUsed(bytes32 reference_) external view returns (bool) {
        return _paidTo[reference_] != address(0);
    }

    function isRefunded(bytes32 refundId) external view returns (bool) {
        return _refunded[refundId];
    }

    /// The EIP-712 digest that a signer signs.
    function orderHash(Order calldata order) public view returns (bytes32) {
        // All members are static and in the order of the type string, so the encoded struct is the encoded data.
        return _hashTypedDataV4(keccak256(abi.encode(ORDER_TYPEHASH, order)));
    }

    /// Every refusal that needs no token, then every effect; the money moves after this.
    function _accept(Order calldata order, bytes calldata signature) private {
        if (_paidTo[order.reference_] != address(0)) revert ReferenceUsed(order.reference_);
        if (block.timestamp > order.deadline) revert OrderLate(order.deadline);
        if (order.payer != address(0) && order.payer != msg.sender) revert WrongPayer(order.payer, msg.sender);
        if (order.amount == 0) revert ZeroAmount();
        if (order.treasury == address(0)) revert ZeroTreasury();
        if (order.treasury == address(this)) revert SelfRecipient();
        address signer = ECDSA.recover(orderHash(order), signature);
        if (!isSigner(signer)) revert UnknownSigner(signer);

        _paidTo[order.reference_] = order.treasury;
        if (order.subscription == 0) {
            if (order.memberUntil != 0) revert ExpiryWithoutMembership();
        } else {
            if (order.beneficiary == address(0)) revert ZeroBeneficiary();
            _grant(order.subscription, order.beneficiary, order.memberUntil);
        }
    }

    function _emitPaid(Order calldata order) private {
        emit Paid(
            order.reference_,
            order.subscription,
            msg.sender,
            order.beneficiary,
            order.plan,
            order.token,
            order.amount,
            order.treasury,
            order.memberUntil
        );
    }

    /// Moves exactly `amount` from the caller to `to`, judged by what arrived.
    function _move(address token, address to, uint256 amount) private {
        if (token == NATIVE) {
            if (msg.value != amount) revert WrongValue(amount, msg.value);
            _sendNative(to, amount);
            return;
        }
        if (msg.value != 0) revert WrongValue(0, msg.value);
        _requireToken(token);
        uint256 before = IERC20(token).balanceOf(to);
        IERC20(token).safeTransferFrom(msg.sender, to, amount);
        uint256 current = IERC20(token).balanceOf(to);
        uint256 received = current > before ? current - before : 0;
        if (received < amount) revert ShortReceipt(amount, received);
    }

    function _sendNative(address to, uint256 amount) private {
        (bool sent,) = to.call{value: amount}("");
        if (!sent) revert NativeTransferFailed(to);
    }

    function _requireToken(address token) private view {
        if (token.code.length == 0) revert NotAToken(token);
    }
}
