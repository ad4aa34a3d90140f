// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.20;

/// Says whether a contract wallet accepts a signature (ERC-1271), also one that is not deployed yet (ERC-6492).
/// Never deployed: it is the creation code of an `eth_call`, runs on a state that is thrown away, and returns one word.
contract SignatureCheck {
    bytes32 private constant UNDEPLOYED = 0x6492649264926492649264926492649264926492649264926492649264926492;
    bytes4 private constant ACCEPTED = 0x1626ba7e;

    constructor(address wallet, bytes32 digest, bytes memory signature) {
        uint256 verdict = accepts(wallet, digest, signature) ? 1 : 0;
        assembly {
            mstore(0, verdict)
            return(0, 32)
        }
    }

    function accepts(address wallet, bytes32 digest, bytes memory signature) private returns (bool) {
        bytes memory inner = signature;
        if (endsUndeployed(signature)) {
            address factory;
            bytes memory creation;
            (factory, creation, inner) = unwrap(signature);
            if (wallet.code.length == 0) {
                (bool made, ) = factory.call(creation);
                if (!made) return false;
            }
        }
        if (wallet.code.length == 0) return false;
        (bool answered, bytes memory answer) = wallet.staticcall(
            abi.encodeWithSelector(ACCEPTED, digest, inner)
        );
        // All 32 bytes: a wallet whose fallback returns something else did not accept.
        return answered && answer.length == 32 && bytes32(answer) == bytes32(ACCEPTED);
    }

    function endsUndeployed(bytes memory signature) private pure returns (bool) {
        if (signature.length < 32) return false;
        bytes32 last;
        assembly {
            last := mload(add(signature, mload(signature)))
        }
        return last == UNDEPLOYED;
    }

    function unwrap(bytes memory signature) private pure returns (address, bytes memory, bytes memory) {
        bytes memory body = new bytes(signature.length - 32);
        for (uint256 i = 0; i < body.length; i++) body[i] = signature[i];
        return abi.decode(body, (address, bytes, bytes));
    }
}
