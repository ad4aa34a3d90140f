// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// What is asked for, signed by one of the contract's signers (EIP-712, primary type `Order`).
/// A trailing underscore marks a name that Solidity reserves; the typed data and the published ABI say `reference`.
struct Order {
    bytes32 reference_; // unique per order; used once
    uint256 subscription; // membership token id; 0 = no membership
    address payer; // 0 = anybody may pay
    address beneficiary; // who gets the membership token
    bytes32 plan; // keccak256 of "slug@version"
    address token; // ERC-20, or the placeholder 0xEeee…EEeE for the native coin
    uint256 amount; // base units, > 0
    address treasury; // receives the money
    uint64 memberUntil; // unix seconds; membership expiry offered by this order; 0 when subscription == 0
    uint64 deadline; // unix seconds; block.timestamp > deadline is late
}
