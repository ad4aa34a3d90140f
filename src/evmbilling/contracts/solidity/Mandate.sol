// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// What a payer allows, signed by the payer (EIP-712, primary type `Mandate`). Its digest is its id.
struct Mandate {
    address payer;
    address token; // ERC-20; native coin cannot be pulled
    address treasury; // the only address that ever receives
    uint256 subscription; // membership token id of the subscription it is for
    bytes32 plan; // keccak256 of "slug@version": what the payer agreed to pay for
    uint160 chargeCap; // base units that a single charge may take
    uint160 cap; // base units that may be taken in each spacing, added up from the start
    uint64 spacing; // seconds: the shortest that a billing period can be
    uint64 start; // unix seconds; nothing is taken before
    uint64 expiry; // unix seconds; block.timestamp > expiry is late
    address operator; // who may charge; 0 = any operator of the contract
    bool permit2; // through Permit2's allowance instead of the token's own
    uint256 salt; // tells equal mandates apart
}

/// One pull of money under a mandate. The operator says it; the payer's mandate bounds it.
/// A trailing underscore marks a name that Solidity reserves; the published ABI says `reference`.
struct Charge {
    bytes32 reference_; // the order; charged once, ever
    uint160 amount; // base units, > 0
    uint64 deadline; // unix seconds; a transaction that lay about until after it takes nothing
    address checkout; // a contract that must not have taken this reference: `isUsed(bytes32)`; 0 = none
}
