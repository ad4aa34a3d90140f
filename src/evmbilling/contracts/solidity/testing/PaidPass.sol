// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {ERC721} from "@openzeppelin/contracts/token/ERC721/ERC721.sol";
import {IERC20} from "@openzeppelin/contracts/token/ERC20/IERC20.sol";
import {SafeERC20} from "@openzeppelin/contracts/token/ERC20/utils/SafeERC20.sol";

import {IERC5643} from "../IERC5643.sol";

/// A subscription NFT (ERC-5643) that whoever pays renews: with the native coin, or with the token at its price. The
/// money goes on to the vault at once. The first renewal of a number mints it.
contract PaidPass is ERC721, IERC5643 {
    using SafeERC20 for IERC20;

    address payable public immutable vault;
    IERC20 public immutable token;
    uint256 public immutable price;
    mapping(uint256 tokenId => uint64) public expiresAt;

    event PassPaid(uint256 indexed tokenId, address indexed payer, uint256 amount, address vault);

    constructor(address payable vault_, IERC20 token_, uint256 price_) ERC721("Pass", "PASS") {
        vault = vault_;
        token = token_;
        price = price_;
    }

    function renewSubscription(uint256 tokenId, uint64 duration) external payable {
        if (_ownerOf(tokenId) == address(0)) _mint(msg.sender, tokenId);
        uint64 from = expiresAt[tokenId] > block.timestamp ? expiresAt[tokenId] : uint64(block.timestamp);
        expiresAt[tokenId] = from + duration;
        emit SubscriptionUpdate(tokenId, expiresAt[tokenId]);
        if (msg.value == 0) {
            token.safeTransferFrom(msg.sender, vault, price);
            return;
        }
        (bool sent,) = vault.call{value: msg.value}("");
        require(sent, "the vault takes no coin");
        emit PassPaid(tokenId, msg.sender, msg.value, vault);
    }

    function cancelSubscription(uint256 tokenId) external payable {
        require(msg.sender == _ownerOf(tokenId) && msg.value == 0, "not yours");
        delete expiresAt[tokenId];
        _burn(tokenId);
        emit SubscriptionUpdate(tokenId, 0);
    }

    function isRenewable(uint256) external pure returns (bool) {
        return true;
    }

    function supportsInterface(bytes4 id) public view override returns (bool) {
        return id == type(IERC5643).interfaceId || super.supportsInterface(id);
    }
}
