// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";

import {IERC5643} from "./IERC5643.sol";
import {Roles} from "./Roles.sol";

/// Non-transferable membership tokens with an expiry (ERC-721 and ERC-5643). The token id is the subscription.
///
/// A token is a courtesy to wallets and other contracts: who may use what is decided by the billing engine.
/// While a token lives its expiry only grows. Cancelling or burning ends the token and its expiry at once.
abstract contract Membership is ERC721, Roles, IERC5643 {
    mapping(uint256 tokenId => uint64 expiry) private _expiry;

    /// Tokens are neither moved nor lent.
    error Soulbound();
    /// Time is bought by paying a signed order; only the operator may grant it.
    error RenewByOrder();
    /// Only the holder, the operator or the owner may end a membership.
    error NotHolderOrOperator(address caller);
    /// Coins were sent along with a call that takes none, or not exactly the amount that is due.
    error WrongValue(uint256 expected, uint256 sent);

    /// Grants `duration` seconds, counted from the present expiry or from now when that has passed.
    /// Operator or owner only: nobody renews for free.
    function renewSubscription(uint256 tokenId, uint64 duration) external payable {
        if (msg.value != 0) revert WrongValue(0, msg.value);
        if (!_isOperator(msg.sender)) revert RenewByOrder();
        _requireOwned(tokenId);
        uint64 current = _expiry[tokenId];
        uint64 base = current > block.timestamp ? current : uint64(block.timestamp);
        _extend(tokenId, base + duration);
    }

    /// Ends a membership now: its token is burned and its expiry becomes 0. Holder, operator or owner.
    function cancelSubscription(uint256 tokenId) external payable {
        if (msg.value != 0) revert WrongValue(0, msg.value);
        _end(tokenId);
    }

    /// The same as `cancelSubscription`, under the name that ERC-721 tools know.
    function burn(uint256 tokenId) external {
        _end(tokenId);
    }

    /// Unix seconds; 0 for a token that does not exist.
    function expiresAt(uint256 tokenId) external view returns (uint64) {
        return _expiry[tokenId];
    }

    /// Whether paying an order can extend it: true for every token that exists.
    function isRenewable(uint256 tokenId) external view returns (bool) {
        return _ownerOf(tokenId) != address(0);
    }

    function supportsInterface(bytes4 interfaceId) public view virtual override returns (bool) {
        return interfaceId == type(IERC5643).interfaceId || super.supportsInterface(interfaceId);
    }

    function approve(address, uint256) public pure override {
        revert Soulbound();
    }

    function setApprovalForAll(address, bool) public pure override {
        revert Soulbound();
    }

    function transferFrom(address, address, uint256) public pure override {
        revert Soulbound();
    }

    /// A first payment mints to `beneficiary`; a later one extends the token where it is. The holder never changes:
    /// to move a membership to another wallet it is burned, and the next paid order mints it anew.
    function _grant(uint256 tokenId, address beneficiary, uint64 until) internal {
        if (_ownerOf(tokenId) == address(0)) _mint(beneficiary, tokenId);
        _extend(tokenId, until);
    }

    function _extend(uint256 tokenId, uint64 until) private {
        if (until <= _expiry[tokenId]) return;
        _expiry[tokenId] = until;
        emit SubscriptionUpdate(tokenId, until);
    }

    function _end(uint256 tokenId) private {
        address holder = _requireOwned(tokenId);
        if (msg.sender != holder && !_isOperator(msg.sender)) revert NotHolderOrOperator(msg.sender);
        delete _expiry[tokenId];
        _burn(tokenId);
        emit SubscriptionUpdate(tokenId, 0);
    }
}
