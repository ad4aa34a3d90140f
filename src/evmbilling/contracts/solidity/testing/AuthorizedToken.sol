// SPDX-License-Identifier: Apache-2.0
pragma solidity ^0.8.24;

import {BoolToken, MiniToken} from "./MiniToken.sol";

/// Moves on a signature, as the large dollar tokens do (ERC-3009), with their habits: the domain's name is not the
/// token's on every chain and its version is 2, the window is open at neither end, `AuthorizationUsed` comes before
/// `Transfer`, a signature goes in whole or in three pieces, and addresses can be put on a list. It has permits, too.
contract AuthorizedToken is BoolToken {
    bytes32 private constant DOMAIN_TYPEHASH =
        keccak256("EIP712Domain(string name,string version,uint256 chainId,address verifyingContract)");
    bytes32 private constant TRANSFER_TYPEHASH = keccak256(
        "TransferWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );
    bytes32 private constant RECEIVE_TYPEHASH = keccak256(
        "ReceiveWithAuthorization(address from,address to,uint256 value,uint256 validAfter,uint256 validBefore,bytes32 nonce)"
    );
    bytes32 private constant CANCEL_TYPEHASH = keccak256("CancelAuthorization(address authorizer,bytes32 nonce)");
    bytes32 private constant PERMIT_TYPEHASH =
        keccak256("Permit(address owner,address spender,uint256 value,uint256 nonce,uint256 deadline)");

    string private _signedName;
    bool public tells;
    mapping(address authorizer => mapping(bytes32 nonce => bool)) public authorizationState;
    mapping(address owner => uint256) public nonces;
    mapping(address account => bool) public listed;

    event AuthorizationUsed(address indexed authorizer, bytes32 indexed nonce);
    event AuthorizationCanceled(address indexed authorizer, bytes32 indexed nonce);

    constructor(string memory name_, string memory symbol_, uint8 decimals_) MiniToken(name_, symbol_, decimals_) {
        _signedName = name_;
    }

    function version() external pure returns (string memory) {
        return "2";
    }

    function DOMAIN_SEPARATOR() public view returns (bytes32) {
        return keccak256(abi.encode(DOMAIN_TYPEHASH, keccak256(bytes(_signedName)), keccak256("2"), block.chainid, address(this)));
    }

    /// The token may be renamed; what it signs by stays.
    function rename(string calldata name_) external {
        name = name_;
    }

    /// From now on it tells its domain (ERC-5267), as newer tokens do.
    function tell() external {
        tells = true;
    }

    function eip712Domain()
        external
        view
        returns (bytes1, string memory, string memory, uint256, address, bytes32, uint256[] memory)
    {
        require(tells, "there is no such function");
        return (hex"0f", _signedName, "2", block.chainid, address(this), bytes32(0), new uint256[](0));
    }

    function setListed(address account, bool listed_) external {
        listed[account] = listed_;
    }

    function transferWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external {
        bytes32 terms = keccak256(abi.encode(TRANSFER_TYPEHASH, from, to, value, validAfter, validBefore, nonce));
        _use(from, validAfter, validBefore, nonce, terms, v, r, s);
        _transfer(from, to, value);
    }

    function transferWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes calldata signature
    ) external {
        require(signature.length == 65, "invalid signature length");
        bytes32 terms = keccak256(abi.encode(TRANSFER_TYPEHASH, from, to, value, validAfter, validBefore, nonce));
        _use(
            from,
            validAfter,
            validBefore,
            nonce,
            terms,
            uint8(signature[64]),
            bytes32(signature[0:32]),
            bytes32(signature[32:64])
        );
        _transfer(from, to, value);
    }

    /// Only the payee may send it, so that nobody can take the payment out of the call that it belongs to.
    function receiveWithAuthorization(
        address from,
        address to,
        uint256 value,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) external {
        require(to == msg.sender, "the caller is not the payee");
        bytes32 terms = keccak256(abi.encode(RECEIVE_TYPEHASH, from, to, value, validAfter, validBefore, nonce));
        _use(from, validAfter, validBefore, nonce, terms, v, r, s);
        _transfer(from, to, value);
    }

    function cancelAuthorization(address authorizer, bytes32 nonce, uint8 v, bytes32 r, bytes32 s) external {
        require(!authorizationState[authorizer][nonce], "the authorization is used or cancelled");
        _check(authorizer, keccak256(abi.encode(CANCEL_TYPEHASH, authorizer, nonce)), v, r, s);
        authorizationState[authorizer][nonce] = true;
        emit AuthorizationCanceled(authorizer, nonce);
    }

    function permit(address owner, address spender, uint256 value, uint256 deadline, uint8 v, bytes32 r, bytes32 s)
        external
    {
        require(block.timestamp <= deadline, "the permit is too late");
        _check(owner, keccak256(abi.encode(PERMIT_TYPEHASH, owner, spender, value, nonces[owner]++, deadline)), v, r, s);
        allowance[owner][spender] = value;
        emit Approval(owner, spender, value);
    }

    function _use(
        address from,
        uint256 validAfter,
        uint256 validBefore,
        bytes32 nonce,
        bytes32 terms,
        uint8 v,
        bytes32 r,
        bytes32 s
    ) private {
        require(block.timestamp > validAfter, "the authorization is not valid yet");
        require(block.timestamp < validBefore, "the authorization is over");
        require(!authorizationState[from][nonce], "the authorization is used or cancelled");
        _check(from, terms, v, r, s);
        authorizationState[from][nonce] = true;
        emit AuthorizationUsed(from, nonce);
    }

    function _check(address signer, bytes32 terms, uint8 v, bytes32 r, bytes32 s) private view {
        bytes32 digest = keccak256(abi.encodePacked(hex"1901", DOMAIN_SEPARATOR(), terms));
        require(signer != address(0) && ecrecover(digest, v, r, s) == signer, "invalid signature");
    }

    function _transfer(address from, address to, uint256 amount) internal override {
        require(!listed[from] && !listed[to], "the address is listed");
        super._transfer(from, to, amount);
    }
}
