// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

/// Sells seats as a careless author would: the coin or any token is taken by one event name with two meanings, tokens
/// are moved without looking whether there is one, the order is an indexed text, seats are numbered by ERC-721's event
/// alone, calls are bundled, and what lies here goes to whoever asks.
contract Bazaar {
    struct Seat {
        string note;
        address member;
        bytes extra;
    }

    struct Bundle {
        Seat[] seats;
        uint256[2][] rows;
        uint64 until;
    }

    uint256 public sold;
    mapping(uint256 tokenId => address) public ownerOf;

    event Sold(string indexed order, address buyer, address vault, uint256 kept);
    event Sold(string indexed order, address buyer, address coin, address vault, uint256 kept);
    event Seated(address indexed buyer, uint256 indexed tokenId, uint256 kept);
    event Transfer(address indexed from, address indexed to, uint256 indexed tokenId);

    /// Keeps the price for the vault and gives back what was sent above it.
    function buy(Bundle[] calldata bundles, string calldata order, address payable vault, uint256 price)
        external
        payable
    {
        _seat(bundles, msg.sender);
        (bool paid,) = vault.call{value: price}("");
        (bool back,) = msg.sender.call{value: msg.value - price}("");
        require(paid && back, "the coin goes nowhere");
        emit Sold(order, msg.sender, vault, price);
    }

    function buy(Bundle[] calldata bundles, string calldata order, address coin, address vault, uint256 price) external {
        _seat(bundles, msg.sender);
        _take(coin, msg.sender, vault, price);
        emit Sold(order, msg.sender, coin, vault, price);
    }

    /// Takes the money once and tells of it as often as asked.
    function buyTold(string calldata order, address coin, address payable vault, uint256 price, uint256 times)
        external
        payable
    {
        _take(coin, msg.sender, vault, price);
        (bool paid,) = vault.call{value: msg.value}("");
        require(paid, "the coin goes nowhere");
        for (uint256 i = 0; i < times; ++i) emit Sold(order, msg.sender, coin, vault, price);
    }

    /// A seat whose number only ERC-721's event tells.
    function mint(address to, address coin, address vault, uint256 price) external {
        _take(coin, msg.sender, vault, price);
        _number(to);
    }

    function keep(uint256 tokenId, address coin, address vault, uint256 price) external {
        require(ownerOf[tokenId] != address(0), "nobody sits there");
        _take(coin, msg.sender, vault, price);
        emit Seated(msg.sender, tokenId, price);
    }

    /// Anybody's calls one after the other, as bundlers make them.
    function bundle(address[] calldata targets, bytes[] calldata calls) external {
        for (uint256 i = 0; i < calls.length; ++i) {
            (bool done,) = targets[i].call(calls[i]);
            require(done, "a call was refused");
        }
    }

    function _seat(Bundle[] calldata bundles, address buyer) private {
        for (uint256 i = 0; i < bundles.length; ++i) {
            for (uint256 j = 0; j < bundles[i].seats.length; ++j) {
                _number(bundles[i].seats[j].member == address(0) ? buyer : bundles[i].seats[j].member);
            }
        }
    }

    /// Numbers are as wide as they can be.
    function _number(address to) private {
        uint256 tokenId = type(uint256).max - sold++;
        ownerOf[tokenId] = to;
        emit Transfer(address(0), to, tokenId);
    }

    function _take(address coin, address from, address to, uint256 price) private {
        (bool moved,) = coin.call(abi.encodeWithSignature("transferFrom(address,address,uint256)", from, to, price));
        require(moved, "the token refuses");
    }
}
