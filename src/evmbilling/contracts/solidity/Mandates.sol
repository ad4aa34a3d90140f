// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {IERC1271} from "@openzeppelin/contracts/interfaces/IERC1271.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";
import {ReentrancyGuard} from "@openzeppelin/contracts/utils/ReentrancyGuard.sol";
import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";
import {EIP712} from "@openzeppelin/contracts/utils/cryptography/EIP712.sol";

import {IPermit2} from "./IPermit2.sol";
import {Charge, Mandate} from "./Mandate.sol";

/// The only thing asked of another payment contract.
interface IReferences {
    function isUsed(bytes32 reference_) external view returns (bool);
}

/// Pulls recurring payments that payers allowed by signed mandates. It keeps nothing.
///
/// Allowances are given to this address and to no other contract, and the one way for them to be used is a charge:
/// by an operator, within the payer's signed bounds, to the treasury that the payer signed. There is no `rescue`, no
/// arbitrary call and no upgrade. What is refused is refused with one code, the same that `canCharge` answers.
contract Mandates is Ownable2Step, Pausable, EIP712, ReentrancyGuard {
    using SafeERC20 for IERC20;

    /// Stable: engines read these numbers. New ones are added at the end.
    enum Refusal {
        None, // 0
        Paused, // 1
        NotOperator, // 2: the sender may not charge here
        WrongOperator, // 3: the mandate names another operator
        BadTerms, // 4: no treasury, no spacing, no cap, or an end before the start
        ZeroAmount, // 5
        Revoked, // 6
        NotStarted, // 7
        Expired, // 8
        ChargeLate, // 9: the charge's own deadline has passed
        ReferenceUsed, // 10: charged before
        PaidElsewhere, // 11: the named checkout has taken this reference
        OverChargeCap, // 12
        OverCap, // 13: more than the mandate allows by now
        NotAToken, // 14: there is no contract at the token's address
        NoPermit2, // 15: there is no Permit2 on this chain
        BadSignature, // 16: not the payer's
        BalanceTooLow, // 17: canCharge only; a charge reverts as the token says
        AllowanceTooLow // 18: canCharge only

    }

    enum Stage {
        Unknown, // 0
        Given, // 1: the payer's consent was seen
        Revoked // 2: for good

    }

    // One slot. 248 bits hold cap * (1 + elapsed / spacing) whatever the mandate says: 160 + 64 bits.
    struct State {
        uint248 charged;
        Stage stage;
    }

    IPermit2 public constant PERMIT2 = IPermit2(0x000000000022D473030F116dDEE9F6B43aC78BA3);

    bytes32 private constant MANDATE_TYPEHASH = keccak256(
        "Mandate(address payer,address token,address treasury,uint256 subscription,bytes32 plan,uint160 chargeCap,"
        "uint160 cap,uint64 spacing,uint64 start,uint64 expiry,address operator,bool permit2,uint256 salt)"
    );
    bytes32 private constant REVOCATION_TYPEHASH = keccak256("Revocation(address payer,bytes32 mandate)");

    mapping(address account => bool) private _operators;
    // By payer first, so that anybody can revoke by the id alone and reaches nobody else's mandate.
    mapping(address payer => mapping(bytes32 id => State)) private _states;
    mapping(bytes32 reference_ => bytes32 id) private _chargedBy;

    event OperatorAdded(address indexed operator);
    event OperatorRemoved(address indexed operator);
    event MandateGiven(bytes32 indexed mandate, address indexed payer, uint256 indexed subscription, Mandate terms);
    event MandateRevoked(bytes32 indexed mandate, address indexed payer);
    /// `received` is what the treasury's balance grew by: at least `amount`.
    event Charged(
        bytes32 indexed reference_,
        bytes32 indexed mandate,
        address indexed payer,
        uint256 subscription,
        address token,
        uint256 amount,
        address treasury,
        uint256 received
    );

    error Refused(Refusal reason);
    /// Less arrived than was asked for: a fee on transfers, or a token that only says it moved.
    error ShortReceipt(uint256 expected, uint256 received);
    error ZeroOperator();
    error OperatorExists(address operator);
    error UnknownOperator(address operator);
    /// Neither an operator nor the owner called.
    error NotOperator(address caller);
    /// A contract without an owner could be neither unpaused nor rid of a leaked operator.
    error OwnerNeeded();

    constructor(address owner_, address[] memory operators_) Ownable(owner_) EIP712("evmbilling Mandates", "1") {
        for (uint256 i = 0; i < operators_.length; ++i) _addOperator(operators_[i]);
    }

    /// Pulls `order.amount` from the payer to the mandate's treasury. The signature is looked at until the mandate is
    /// known; after that it may be empty.
    function charge(Mandate calldata mandate, bytes calldata signature, Charge calldata order) external nonReentrant {
        _charge(mandate, signature, order);
    }

    /// `charge` after a Permit2 permit of the payer. Anyone may have submitted that permit before, so a failing one is
    /// no reason to stop; the allowance that results is what counts.
    function chargeWithPermit(
        Mandate calldata mandate,
        bytes calldata signature,
        Charge calldata order,
        IPermit2.PermitSingle calldata permit,
        bytes calldata permitSignature
    ) external nonReentrant {
        try PERMIT2.permit(mandate.payer, permit, permitSignature) {} catch {}
        _charge(mandate, signature, order);
    }

    /// Records the payer's consent before the first charge. Sent by the payer it needs no signature, so a wallet that
    /// cannot sign typed data can give a mandate too. A mandate that is known stays as it is.
    function give(Mandate calldata mandate, bytes calldata signature) external {
        bytes32 id = mandateId(mandate);
        State storage state = _states[mandate.payer][id];
        if (state.stage == Stage.Given) return;
        Refusal reason = _termsRefusal(mandate, state.stage);
        if (reason == Refusal.None && msg.sender != mandate.payer && !_signed(mandate.payer, id, signature)) {
            reason = Refusal.BadSignature;
        }
        if (reason != Refusal.None) revert Refused(reason);
        state.stage = Stage.Given;
        emit MandateGiven(id, mandate.payer, mandate.subscription, mandate);
    }

    /// Ends a mandate of the caller's for good, also one that this contract has not seen yet. Works while paused.
    function revoke(bytes32 id) external {
        _revoke(msg.sender, id);
    }

    /// `revoke` on the payer's signature, sent by anybody. It is final, so a replay changes nothing.
    function revokeBySignature(address payer, bytes32 id, bytes calldata signature) external {
        if (!_signed(payer, revocationHash(payer, id), signature)) revert Refused(Refusal.BadSignature);
        _revoke(payer, id);
    }

    function addOperator(address operator) external onlyOwner {
        _addOperator(operator);
    }

    function removeOperator(address operator) external onlyOwner {
        if (!_operators[operator]) revert UnknownOperator(operator);
        delete _operators[operator];
        emit OperatorRemoved(operator);
    }

    /// Stops charges; giving and revoking go on.
    function pause() external {
        if (!_operators[msg.sender] && msg.sender != owner()) revert NotOperator(msg.sender);
        _pause();
    }

    function unpause() external onlyOwner {
        _unpause();
    }

    function renounceOwnership() public view override onlyOwner {
        revert OwnerNeeded();
    }

    /// The reason for which a charge sent by `operator` now would be refused, or None. Beyond what `charge` checks it
    /// looks at the payer's balance and allowance. What the token itself refuses (a deny-list) only a simulation shows.
    function canCharge(Mandate calldata mandate, bytes calldata signature, Charge calldata order, address operator)
        external
        view
        returns (Refusal)
    {
        State memory state = _states[mandate.payer][mandateId(mandate)];
        Refusal reason = _refusal(mandate, signature, order, operator, state);
        if (reason != Refusal.None) return reason;
        IERC20 token = IERC20(mandate.token);
        if (token.balanceOf(mandate.payer) < order.amount) return Refusal.BalanceTooLow;
        return _allowance(mandate) < order.amount ? Refusal.AllowanceTooLow : Refusal.None;
    }

    /// Base units that one charge could take now, as far as the mandate goes; 0 before it starts and once it is over.
    function remaining(Mandate calldata mandate) external view returns (uint256) {
        State memory state = _states[mandate.payer][mandateId(mandate)];
        if (_termsRefusal(mandate, state.stage) != Refusal.None || block.timestamp < mandate.start) return 0;
        uint256 headroom = _headroom(mandate, state.charged);
        return headroom < mandate.chargeCap ? headroom : mandate.chargeCap;
    }

    function stateOf(address payer, bytes32 id) external view returns (Stage stage, uint256 charged) {
        State memory state = _states[payer][id];
        return (state.stage, state.charged);
    }

    function isUsed(bytes32 reference_) external view returns (bool) {
        return _chargedBy[reference_] != 0;
    }

    /// The mandate under which a reference was charged; 0 when it was not.
    function chargedBy(bytes32 reference_) external view returns (bytes32) {
        return _chargedBy[reference_];
    }

    function isOperator(address account) external view returns (bool) {
        return _operators[account];
    }

    /// The EIP-712 digest that the payer signs; it names the mandate on this chain and contract.
    function mandateId(Mandate calldata mandate) public view returns (bytes32) {
        // All members are static and in the order of the type string, so the encoded struct is the encoded data.
        return _hashTypedDataV4(keccak256(abi.encode(MANDATE_TYPEHASH, mandate)));
    }

    /// The EIP-712 digest by which the payer lets anybody send the revocation.
    function revocationHash(address payer, bytes32 id) public view returns (bytes32) {
        return _hashTypedDataV4(keccak256(abi.encode(REVOCATION_TYPEHASH, payer, id)));
    }

    /// Every refusal, then every effect; the money moves after this.
    function _charge(Mandate calldata mandate, bytes calldata signature, Charge calldata order) private {
        bytes32 id = mandateId(mandate);
        State storage slot = _states[mandate.payer][id];
        State memory state = slot;
        Refusal reason = _refusal(mandate, signature, order, msg.sender, state);
        if (reason != Refusal.None) revert Refused(reason);

        _chargedBy[order.reference_] = id;
        // Not above cap * (1 + elapsed / spacing), which 224 bits hold.
        slot.charged = uint248(state.charged + order.amount);
        slot.stage = Stage.Given;
        if (state.stage == Stage.Unknown) emit MandateGiven(id, mandate.payer, mandate.subscription, mandate);
        uint256 received = _move(mandate, order.amount);
        _emitCharged(mandate, order, id, received);
    }

    /// Moves exactly `amount` from the payer to the treasury, judged by what arrived.
    function _move(Mandate calldata mandate, uint160 amount) private returns (uint256 received) {
        IERC20 token = IERC20(mandate.token);
        uint256 before = token.balanceOf(mandate.treasury);
        if (mandate.permit2) PERMIT2.transferFrom(mandate.payer, mandate.treasury, amount, mandate.token);
        else token.safeTransferFrom(mandate.payer, mandate.treasury, amount);
        uint256 current = token.balanceOf(mandate.treasury);
        received = current > before ? current - before : 0;
        if (received < amount) revert ShortReceipt(amount, received);
    }

    function _emitCharged(Mandate calldata mandate, Charge calldata order, bytes32 id, uint256 received) private {
        emit Charged(
            order.reference_,
            id,
            mandate.payer,
            mandate.subscription,
            mandate.token,
            order.amount,
            mandate.treasury,
            received
        );
    }

    function _refusal(
        Mandate calldata mandate,
        bytes calldata signature,
        Charge calldata order,
        address sender,
        State memory state
    ) private view returns (Refusal) {
        if (paused()) return Refusal.Paused;
        if (!_operators[sender]) return Refusal.NotOperator;
        if (mandate.operator != address(0) && mandate.operator != sender) return Refusal.WrongOperator;
        Refusal terms = _termsRefusal(mandate, state.stage);
        if (terms != Refusal.None) return terms;
        if (order.amount == 0) return Refusal.ZeroAmount;
        if (block.timestamp < mandate.start) return Refusal.NotStarted;
        if (block.timestamp > order.deadline) return Refusal.ChargeLate;
        if (_chargedBy[order.reference_] != 0) return Refusal.ReferenceUsed;
        if (order.checkout != address(0) && IReferences(order.checkout).isUsed(order.reference_)) {
            return Refusal.PaidElsewhere;
        }
        if (order.amount > mandate.chargeCap) return Refusal.OverChargeCap;
        if (order.amount > _headroom(mandate, state.charged)) return Refusal.OverCap;
        if (mandate.token.code.length == 0) return Refusal.NotAToken;
        if (mandate.permit2 && address(PERMIT2).code.length == 0) return Refusal.NoPermit2;
        if (state.stage == Stage.Unknown && !_signed(mandate.payer, mandateId(mandate), signature)) {
            return Refusal.BadSignature;
        }
        return Refusal.None;
    }

    function _termsRefusal(Mandate calldata mandate, Stage stage) private view returns (Refusal) {
        if (
            mandate.treasury == address(0) || mandate.treasury == address(this) || mandate.spacing == 0
                || mandate.cap == 0 || mandate.chargeCap == 0 || mandate.expiry < mandate.start
        ) return Refusal.BadTerms;
        if (stage == Stage.Revoked) return Refusal.Revoked;
        return block.timestamp > mandate.expiry ? Refusal.Expired : Refusal.None;
    }

    /// What is left of `cap` for each spacing that has begun. Only for a time from the start on.
    function _headroom(Mandate calldata mandate, uint256 charged) private view returns (uint256) {
        uint256 begun = 1 + (block.timestamp - mandate.start) / mandate.spacing;
        uint256 allowed = uint256(mandate.cap) * begun;
        return allowed > charged ? allowed - charged : 0;
    }

    function _allowance(Mandate calldata mandate) private view returns (uint256) {
        IERC20 token = IERC20(mandate.token);
        if (!mandate.permit2) return token.allowance(mandate.payer, address(this));
        (uint160 amount, uint48 expiration,) = PERMIT2.allowance(mandate.payer, mandate.token, address(this));
        uint256 below = token.allowance(mandate.payer, address(PERMIT2));
        uint256 above = block.timestamp > expiration ? 0 : amount;
        return above < below ? above : below;
    }

    /// Whether `signer` signed: 65 bytes that recover to it, whatever code it has (an EIP-7702 account signs as a key);
    /// else ERC-1271. An account without code that did not sign as a key is refused: a wallet that is not deployed yet
    /// (ERC-6492) could hold no allowance to pull from.
    function _signed(address signer, bytes32 digest, bytes calldata signature) private view returns (bool) {
        (address recovered, ECDSA.RecoverError failed,) = ECDSA.tryRecover(digest, signature);
        if (failed == ECDSA.RecoverError.NoError && recovered == signer) return true;
        if (signer.code.length == 0) return false;
        (bool answered, bytes memory answer) =
            signer.staticcall(abi.encodeCall(IERC1271.isValidSignature, (digest, signature)));
        // All 32 bytes: a wallet whose fallback returns something else did not accept.
        return answered && answer.length == 32 && bytes32(answer) == bytes32(IERC1271.isValidSignature.selector);
    }

    function _revoke(address payer, bytes32 id) private {
        State storage state = _states[payer][id];
        if (state.stage == Stage.Revoked) return;
        state.stage = Stage.Revoked;
        emit MandateRevoked(id, payer);
    }

    function _addOperator(address operator) private {
        if (operator == address(0)) revert ZeroOperator();
        if (_operators[operator]) revert OperatorExists(operator);
        _operators[operator] = true;
        emit OperatorAdded(operator);
    }
}
