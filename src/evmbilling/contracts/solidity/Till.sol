// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";

/// The call of ERC-3009 by which the payee itself takes what was authorised.
interface IERC3009 {
    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external;
}

/// The half of Permit2 that moves money by a signature alone (SignatureTransfer).
interface ISignatureTransfer {
    struct TokenPermissions {
        address token;
        uint256 amount;
    }

    struct PermitTransferFrom {
        TokenPermissions permitted;
        uint256 nonce;
        uint256 deadline;
    }

    struct SignatureTransferDetails {
        address to;
        uint256 requestedAmount;
    }

    function permitTransferFrom(
        PermitTransferFrom calldata permit,
        SignatureTransferDetails calldata details,
        address owner,
        bytes calldata signature
    ) external;
}

/// Passes tokens on to one treasury and says for which order they came. It has no owner and keeps nothing.
///
/// The treasury is part of the code. So whoever sends a payer's signature can do nothing with it but what the payer
/// signed: this much of this token, from the payer, for the order that the nonce names, to that treasury.
contract Till is ReentrancyGuard {
    using SafeERC20 for IERC20;

    ISignatureTransfer private constant PERMIT2 = ISignatureTransfer(0x000000000022D473030F116dDEE9F6B43aC78BA3);

    address public immutable treasury;

    /// `amount` is what was asked for, and no less has reached the treasury.
    event Received(
        bytes32 indexed reference_, address indexed payer, address indexed token, uint256 amount, address treasury
    );

    error ZeroTreasury();
    /// There is no contract at the token's address.
    error NotAToken(address token);
    /// Less arrived than was asked for: a fee on transfers, or a token that only says it moved.
    error ShortReceipt(uint256 expected, uint256 received);

    constructor(address treasury_) {
        if (treasury_ == address(0)) revert ZeroTreasury();
        treasury = treasury_;
    }

    /// Pays with the caller's allowance.
    function pay(bytes32 reference_, address token, uint256 amount) external nonReentrant {
        _take(reference_, token, amount);
    }

    /// Pays with an allowance that the caller has signed (ERC-2612). Only for the caller: such a permit does not say
    /// what it is for. Anybody may have sent it before, so a failing one is no reason to stop: the allowance counts.
    function payWithPermit(
        bytes32 reference_,
        address token,
        uint256 amount,
        uint256 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external nonReentrant {
        try IERC20Permit(token).permit(msg.sender, address(this), amount, deadline, v, r, s) {} catch {}
        _take(reference_, token, amount);
    }

    /// Pays with an authorisation that `payer` has signed (ERC-3009); anybody may send it. Its nonce is the reference.
    function payWithAuthorization(
        bytes32 reference_,
        address payer,
        address token,
        uint256 amount,
        uint256 validBefore,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external nonReentrant {
        IERC3009(token).receiveWithAuthorization(payer, address(this), amount, 0, validBefore, reference_, v, r, s);
        uint256 before = _held(token);
        IERC20(token).safeTransfer(treasury, amount);
        _say(reference_, payer, token, amount, before);
    }

    /// Pays with a transfer that `payer` has signed for Permit2; anybody may send it. Its nonce is the reference.
    function payWithPermit2(
        bytes32 reference_,
        address payer,
        address token,
        uint256 amount,
        uint256 deadline,
        bytes calldata signature
    ) external nonReentrant {
        uint256 before = _held(token);
        PERMIT2.permitTransferFrom(
            ISignatureTransfer.PermitTransferFrom({
                permitted: ISignatureTransfer.TokenPermissions({token: token, amount: amount}),
                nonce: uint256(reference_),
                deadline: deadline
            }),
            ISignatureTransfer.SignatureTransferDetails({to: treasury, requestedAmount: amount}),
            payer,
            signature
        );
        _say(reference_, payer, token, amount, before);
    }

    function _take(bytes32 reference_, address token, uint256 amount) private {
        uint256 before = _held(token);
        IERC20(token).safeTransferFrom(msg.sender, treasury, amount);
        _say(reference_, msg.sender, token, amount, before);
    }

    /// Says that an order was paid, when its amount has reached the treasury.
    function _say(bytes32 reference_, address payer, address token, uint256 amount, uint256 before) private {
        uint256 held = _held(token);
        uint256 received = held > before ? held - before : 0;
        if (received < amount) revert ShortReceipt(amount, received);
        emit Received(reference_, payer, token, amount, treasury);
    }

    function _held(address token) private view returns (uint256) {
        if (token.code.length == 0) revert NotAToken(token);
        return IERC20(token).balanceOf(treasury);
    }
}
