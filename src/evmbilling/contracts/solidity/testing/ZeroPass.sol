// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

/// Sells passes that it numbers from zero, as many collections do. Anybody extends one by its number; its holder ends it.
contract ZeroPass {
    using SafeERC20 for IERC20;

    IERC20 public immutable token;
    uint256 public sold;
    mapping(uint256 tokenId => address) public holderOf;
    mapping(uint256 tokenId => uint256) public extendedBy;

    event Bought(address indexed buyer, uint256 indexed tokenId);
    event Extended(address indexed buyer, uint256 indexed tokenId);
    event Ended(uint256 indexed tokenId, address indexed holder);

    constructor(IERC20 token_) {
        token = token_;
    }

    function buy(address vault, uint256 price) external {
        uint256 tokenId = sold++;
        holderOf[tokenId] = msg.sender;
        token.safeTransferFrom(msg.sender, vault, price);
        emit Bought(msg.sender, tokenId);
    }

    function extend(uint256 tokenId, address vault, uint256 price) external {
        require(holderOf[tokenId] != address(0), "there is no such pass");
        extendedBy[tokenId] += price;
        token.safeTransferFrom(msg.sender, vault, price);
        emit Extended(msg.sender, tokenId);
    }

    function end(uint256 tokenId) external {
        address holder = holderOf[tokenId];
        require(msg.sender == holder, "only its holder");
        delete holderOf[tokenId];
        emit Ended(tokenId, holder);
    }
}
