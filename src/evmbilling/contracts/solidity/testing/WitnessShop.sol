// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ISignatureTransfer} from "../Till.sol";

interface IWitnessTransfer {
    function permitWitnessTransferFrom(
        ISignatureTransfer.PermitTransferFrom calldata permit,
        ISignatureTransfer.SignatureTransferDetails calldata details,
        address owner,
        bytes32 witness,
        string calldata witnessTypeString,
        bytes calldata signature
    ) external;
}

/// Somebody's shop whose buyers sign, for Permit2, what they buy and who gets the money: any vault, so nothing but the
/// witness keeps it where the buyer wanted it. For tests only.
contract WitnessShop {
    IWitnessTransfer private constant PERMIT2 = IWitnessTransfer(0x000000000022D473030F116dDEE9F6B43aC78BA3);
    bytes32 private constant PURCHASE_TYPEHASH =
        keccak256("Purchase(bytes32 order,address vault,string plan,uint64 until)");
    string private constant WITNESS =
        "Purchase witness)Purchase(bytes32 order,address vault,string plan,uint64 until)"
        "TokenPermissions(address token,uint256 amount)";

    struct Purchase {
        bytes32 order;
        address vault;
        string plan;
        uint64 until;
    }

    event Bought(bytes32 indexed order, address indexed buyer, uint256 amount);

    function buy(
        Purchase calldata purchase,
        ISignatureTransfer.PermitTransferFrom calldata permit,
        address buyer,
        bytes calldata signature
    ) external {
        bytes32 witness = keccak256(
            abi.encode(
                PURCHASE_TYPEHASH, purchase.order, purchase.vault, keccak256(bytes(purchase.plan)), purchase.until
            )
        );
        PERMIT2.permitWitnessTransferFrom(
            permit,
            ISignatureTransfer.SignatureTransferDetails({to: purchase.vault, requestedAmount: permit.permitted.amount}),
            buyer,
            witness,
            WITNESS,
            signature
        );
        emit Bought(purchase.order, buyer, permit.permitted.amount);
    }
}
