// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// Holds money that was sent to it, until the contract that made it has it sent on. It decides nothing by itself.
///
/// Whoever else calls it leaves their coins here and gets no answer, so that an exchange can pay with the little gas
/// of a plain transfer, and a token that asks whether it may be sent here (ERC-721, ERC-1155) is told that it may not.
contract DepositAddress {
    address private immutable _maker = msg.sender;

    /// From its maker: a receiver and the coins for it, a word each, and the data that it is called with.
    fallback() external payable {
        if (msg.sender != _maker) return;
        assembly ("memory-safe") {
            let size := sub(calldatasize(), 64)
            let data := mload(64)
            calldatacopy(data, 64, size)
            if iszero(call(gas(), calldataload(0), calldataload(32), data, size, 0, 0)) {
                returndatacopy(data, 0, returndatasize())
                revert(data, returndatasize())
            }
        }
    }
}
