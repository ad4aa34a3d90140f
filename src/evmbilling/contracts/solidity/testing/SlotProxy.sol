// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// A proxy that keeps the address of its implementation in a slot of the deployer's choice, as older ones do. Anybody
/// may let it lead elsewhere.
contract SlotProxy {
    bytes32 public immutable slot;

    constructor(bytes32 slot_, address implementation) {
        slot = slot_;
        lead(implementation);
    }

    function lead(address implementation) public {
        bytes32 where = slot;
        assembly ("memory-safe") {
            sstore(where, implementation)
        }
    }

    fallback() external {
        bytes32 where = slot;
        assembly {
            calldatacopy(0, 0, calldatasize())
            let done := delegatecall(gas(), sload(where), 0, calldatasize(), 0, 0)
            returndatacopy(0, 0, returndatasize())
            switch done
            case 0 { revert(0, returndatasize()) }
            default { return(0, returndatasize()) }
        }
    }
}
