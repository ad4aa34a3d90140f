// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

import {ECDSA} from "@openzeppelin/contracts/utils/cryptography/ECDSA.sol";

/// A wallet that accepts its owner's signatures (ERC-1271) until it is told to lie.
contract ContractWallet {
    address public owner;
    bytes public answer;

    constructor(address owner_) {
        owner = owner_;
    }

    /// Answer exactly these bytes to anything from now on.
    function lie(bytes calldata answer_) external {
        answer = answer_;
    }

    function isValidSignature(bytes32 digest, bytes calldata signature) external view returns (bytes4) {
        if (answer.length > 0) {
            bytes memory told = answer;
            assembly {
                return(add(told, 32), mload(told))
            }
        }
        (address signer, ECDSA.RecoverError failed, ) = ECDSA.tryRecover(digest, signature);
        bool accepted = failed == ECDSA.RecoverError.NoError && signer == owner;
        return accepted ? bytes4(0x1626ba7e) : bytes4(0xffffffff);
    }
}
