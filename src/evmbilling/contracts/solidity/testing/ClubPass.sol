// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {IERC20Permit} from "@openzeppelin/contracts/token/ERC20/extensions/IERC20Permit.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

/// Sells passes as somebody else would have written it: `join` is overloaded, shares come as an array of tuples, and
/// the event has no reference, no token and no amount. A house fee may stay here, so what reaches the vault is less.
contract ClubPass {
    using SafeERC20 for IERC20;

    struct Share {
        address member;
        uint96 units;
        string note;
    }

    struct Terms {
        address vault;
        uint64 until;
    }

    IERC20 public immutable token;
    uint256 public immutable feeBps;
    mapping(address member => uint64) public memberUntil;

    event Joined(address indexed buyer, Share[] shares, Terms terms, string indexed label);
    event Tagged(bytes32 tag, uint256 amount, address indexed vault);
    event Tagged(string indexed tag, address buyer, address vault);
    event Left(address indexed member);
    event GivenBack(bytes32 indexed name, address indexed to, uint256 price);

    constructor(IERC20 token_, uint256 feeBps_) {
        token = token_;
        feeBps = feeBps_;
    }

    function join(address member, uint256 price) external {
        _take(msg.sender, address(this), price);
        memberUntil[member] = uint64(block.timestamp);
    }

    function join(Share[] calldata shares, Terms calldata terms, uint256 price, string calldata label) public {
        _take(msg.sender, terms.vault, price);
        for (uint256 i = 0; i < shares.length; ++i) memberUntil[shares[i].member] = terms.until;
        emit Joined(msg.sender, shares, terms, label);
    }

    /// Pays with an allowance that the buyer signed (ERC-2612). A permit can be sent by anybody before: what counts is
    /// the allowance.
    function joinWithPermit(
        Terms calldata terms,
        uint256 price,
        uint256 deadline,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external {
        try IERC20Permit(address(token)).permit(msg.sender, address(this), price, deadline, v, r, s) {} catch {}
        _take(msg.sender, terms.vault, price);
        memberUntil[msg.sender] = terms.until;
        emit Joined(msg.sender, new Share[](0), terms, "permit");
    }

    /// Two purchases in one transaction, which nobody can tell apart by their money.
    function joinTwice(Share[] calldata shares, Terms calldata terms, uint256 price, string calldata label) external {
        join(shares, terms, price, label);
        join(shares, terms, price, label);
    }

    /// Takes the price in parts, and the vault gives some of it back.
    function joinInParts(Terms calldata terms, uint256[] calldata parts, uint256 rebate) external {
        for (uint256 i = 0; i < parts.length; ++i) _take(msg.sender, terms.vault, parts[i]);
        if (rebate != 0) token.safeTransferFrom(terms.vault, msg.sender, rebate);
        emit Joined(msg.sender, new Share[](0), terms, "parts");
    }

    /// Says first and moves after.
    function tag(bytes32 name, address vault, uint256 price) external {
        emit Tagged(name, price, vault);
        _take(msg.sender, vault, price);
    }

    function tagText(string calldata name, address vault, uint256 price) external {
        _take(msg.sender, vault, price);
        emit Tagged(name, msg.sender, vault);
    }

    /// Gives the caller's money to a member, and says so before.
    function giveBack(bytes32 name, address to, uint256 price) external {
        emit GivenBack(name, to, price);
        token.safeTransferFrom(msg.sender, to, price);
    }

    /// Only says that money was given back.
    function pretend(bytes32 name, address to, uint256 price) external {
        emit GivenBack(name, to, price);
    }

    function resign(address member) external {
        delete memberUntil[member];
        emit Left(member);
    }

    function _take(address payer, address vault, uint256 price) private {
        uint256 fee = price * feeBps / 10_000;
        token.safeTransferFrom(payer, vault, price - fee);
        if (fee != 0) token.safeTransferFrom(payer, address(this), fee);
    }
}
