// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

/// Sells keys that expire, for as long as the lock says, and keeps the money until its owner takes it. One key each:
/// whoever buys again extends theirs. Behaves as the expiring-key locks on mainnet do, in the events and in the call.
contract KeyLock is ERC721 {
    using SafeERC20 for IERC20;

    IERC20 public immutable token;
    uint256 public immutable keyPrice;
    uint256 public immutable expirationDuration;
    address public immutable owner;
    uint256 public totalSupply;
    mapping(uint256 tokenId => uint256) public keyExpirationTimestampFor;
    mapping(address owner => uint256) public keyOf;

    event RenewKeyPurchase(address indexed owner, uint256 newExpiration);
    event KeyExtended(uint256 indexed tokenId, uint256 newTimestamp);
    event CancelKey(uint256 indexed tokenId, address indexed owner, address indexed sendTo, uint256 refund);

    constructor(IERC20 token_, uint256 keyPrice_, uint256 duration_) ERC721("Key", "KEY") {
        token = token_;
        keyPrice = keyPrice_;
        expirationDuration = duration_;
        owner = msg.sender;
    }

    function purchase(uint256 value, address recipient, address referrer, bytes calldata data) external payable {
        require(value >= keyPrice && msg.value == 0 && data.length < 1024, "the price is not met");
        uint256 tokenId = keyOf[recipient];
        if (tokenId == 0) {
            tokenId = ++totalSupply;
            keyOf[recipient] = tokenId;
            keyExpirationTimestampFor[tokenId] = block.timestamp + expirationDuration;
            _mint(recipient, tokenId);
        } else {
            uint256 until = keyExpirationTimestampFor[tokenId];
            until = (until < block.timestamp ? block.timestamp : until) + expirationDuration;
            keyExpirationTimestampFor[tokenId] = until;
            emit RenewKeyPurchase(recipient, until);
        }
        token.safeTransferFrom(msg.sender, address(this), keyPrice);
        referrer;
    }

    /// Extends a key by its number, whoever pays.
    function extend(uint256 value, uint256 tokenId, address referrer, bytes calldata data) external payable {
        require(value >= keyPrice && msg.value == 0 && data.length < 1024, "the price is not met");
        uint256 until = keyExpirationTimestampFor[tokenId];
        require(until != 0, "there is no such key");
        until = (until < block.timestamp ? block.timestamp : until) + expirationDuration;
        keyExpirationTimestampFor[tokenId] = until;
        token.safeTransferFrom(msg.sender, address(this), keyPrice);
        emit KeyExtended(tokenId, until);
        referrer;
    }

    /// Ends a key; its holder or the lock's owner may. No money moves.
    function endKey(uint256 tokenId) external {
        address holder = ownerOf(tokenId);
        require(msg.sender == holder || msg.sender == owner, "only its holder or the lock's owner");
        delete keyOf[holder];
        delete keyExpirationTimestampFor[tokenId];
        _burn(tokenId);
        emit CancelKey(tokenId, holder, holder, 0);
    }

    function withdraw(uint256 amount) external {
        token.safeTransfer(owner, amount);
    }
}
