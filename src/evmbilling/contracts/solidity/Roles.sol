// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {Ownable} from "@openzeppelin/contracts/access/Ownable.sol";
import {Ownable2Step} from "@openzeppelin/contracts/access/Ownable2Step.sol";
import {Pausable} from "@openzeppelin/contracts/utils/Pausable.sol";

/// Three kinds of key, each replaceable: the owner (cold), the operator (workers), the signers (web processes).
///
/// owner     names the operator and the signers, unpauses, hands over ownership in two steps
/// operator  pauses, ends memberships, grants time, refunds; may be the zero address (nobody)
/// signers   sign orders and can do nothing else on chain
abstract contract Roles is Ownable2Step, Pausable {
    address private _operator;
    mapping(address account => bool) private _signers;

    event OperatorChanged(address indexed previous, address indexed current);
    event SignerAdded(address indexed signer);
    event SignerRemoved(address indexed signer);

    /// Neither the operator nor the owner called.
    error NotOperator(address caller);
    /// The zero address is what a failed recovery yields; it can never sign.
    error ZeroSigner();
    /// That signer is already in the set.
    error SignerExists(address signer);
    /// No signer of that address is in the set.
    error UnknownSigner(address signer);
    /// A contract without an owner could be neither unpaused nor rid of a leaked signer.
    error OwnerNeeded();

    constructor(address owner_, address operator_, address[] memory signers_) Ownable(owner_) {
        _setOperator(operator_);
        for (uint256 i = 0; i < signers_.length; ++i) _addSigner(signers_[i]);
    }

    function operator() external view returns (address) {
        return _operator;
    }

    function isSigner(address account) public view returns (bool) {
        return _signers[account];
    }

    function setOperator(address operator_) external onlyOwner {
        _setOperator(operator_);
    }

    function addSigner(address signer) external onlyOwner {
        _addSigner(signer);
    }

    function removeSigner(address signer) external onlyOwner {
        if (!_signers[signer]) revert UnknownSigner(signer);
        delete _signers[signer];
        emit SignerRemoved(signer);
    }

    /// Stops payments; refunds and memberships go on.
    function pause() external {
        if (!_isOperator(msg.sender)) revert NotOperator(msg.sender);
        _pause();
    }

    function unpause() external onlyOwner {
        _unpause();
    }

    function renounceOwnership() public view override onlyOwner {
        revert OwnerNeeded();
    }

    function _isOperator(address account) internal view returns (bool) {
        return account == _operator || account == owner();
    }

    function _setOperator(address operator_) private {
        emit OperatorChanged(_operator, operator_);
        _operator = operator_;
    }

    function _addSigner(address signer) private {
        if (signer == address(0)) revert ZeroSigner();
        if (_signers[signer]) revert SignerExists(signer);
        _signers[signer] = true;
        emit SignerAdded(signer);
    }
}
