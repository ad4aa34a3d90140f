// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// Subscription NFTs, as ERC-5643 defines them. The interface id is 0x8c65f84d, the XOR of all four functions.
interface IERC5643 {
    event SubscriptionUpdate(uint256 indexed tokenId, uint64 expiration);

    function renewSubscription(uint256 tokenId, uint64 duration) external payable;

    function cancelSubscription(uint256 tokenId) external payable;

    function expiresAt(uint256 tokenId) external view returns (uint64);

    function isRenewable(uint256 tokenId) external view returns (bool);
}
