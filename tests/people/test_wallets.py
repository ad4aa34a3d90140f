"""A wallet is a user's when its signature says so, once."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from datetime import timedelta

import pytest
from eth_account.messages import encode_defunct
from people_bench import ALICE, BOB, DOMAIN, START, URI, sign_text

from evmbilling.domain.people.siwe import SignIn, personal_digest
from evmbilling.errors import AlreadyExists, ChallengeRefused, InputError, UnknownNetwork


def ask(shop, user="user-1", wallet=ALICE.address, **changes):
    values = {"user_id": user, "wallet": wallet, "network": shop.network, "domain": DOMAIN, "uri": URI}
    return shop.engine.wallet_challenge(**(values | changes))


def test_the_message_is_that_of_eip_4361():
    text = SignIn(
        domain="service.org",
        uri="https://service.org/login",
        address=ALICE.address,
        chain_id=1,
        nonce="32891756",
        issued_at=START,
        expires_at=START + timedelta(minutes=10),
    ).text()
    lines = text.split("\n")
    assert lines[:2] == ["service.org wants you to sign in with your Ethereum account:", ALICE.address]
    assert (lines[2], lines[4]) == ("", "")
    assert lines[5:] == [
        "URI: https://service.org/login",
        "Version: 1",
        "Chain ID: 1",
        "Nonce: 32891756",
        "Issued At: 2026-01-31T12:00:00Z",
        "Expiration Time: 2026-01-31T12:10:00Z",
    ]


def test_the_digest_is_a_wallets_own():
    message = encode_defunct(text="héllo\nworld")
    expected = personal_digest("héllo\nworld")
    from eth_account import Account

    signed = Account.sign_message(message, ALICE.key)
    assert Account._recover_hash(expected, signature=signed.signature) == ALICE.address


def test_a_wallet_is_confirmed_by_its_key(shop):
    challenge = ask(shop)
    wallet = shop.engine.confirm_wallet(
        user_id="user-1", nonce=challenge.nonce, signature=sign_text(ALICE.key, challenge.message)
    )
    assert wallet.address == ALICE.address
    assert [w.address for w in shop.engine.profile("user-1").wallets] == [ALICE.address]


@pytest.mark.fault("S01")
def test_s01_a_challenge_is_answered_once(shop):
    challenge = ask(shop)
    signature = sign_text(ALICE.key, challenge.message)

    def answer(_):
        try:
            shop.engine.confirm_wallet(user_id="user-1", nonce=challenge.nonce, signature=signature)
        except ChallengeRefused:
            return 0
        return 1

    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(answer, range(16))) == 1


@pytest.mark.fault("S04")
def test_s04_another_wallets_signature_is_refused(shop):
    challenge = ask(shop)
    with pytest.raises(ChallengeRefused) as refused:
        shop.engine.confirm_wallet(
            user_id="user-1", nonce=challenge.nonce, signature=sign_text(BOB.key, challenge.message)
        )
    assert refused.value.field == "signature"
    assert shop.engine.profile("user-1").wallets == [] or not list(shop.engine.profile("user-1").wallets)


@pytest.mark.fault("S02")
@pytest.mark.parametrize(
    ("part", "other"),
    [
        (DOMAIN, "evil.example"),
        ("/account", "/other"),
        ("Chain ID: 31337", "Chain ID: 1"),
        ("2026-01-31T12:00:00Z", "2026-01-31T12:00:01Z"),
    ],
)
def test_s02_every_part_of_the_message_is_signed(shop, part, other):
    challenge = ask(shop)
    assert part in challenge.message
    with pytest.raises(ChallengeRefused):
        shop.engine.confirm_wallet(
            user_id="user-1",
            nonce=challenge.nonce,
            signature=sign_text(ALICE.key, challenge.message.replace(part, other)),
        )


def test_another_users_challenge_and_an_old_one_are_refused(shop):
    challenge = ask(shop)
    signature = sign_text(ALICE.key, challenge.message)
    with pytest.raises(ChallengeRefused):
        shop.engine.confirm_wallet(user_id="user-2", nonce=challenge.nonce, signature=signature)
    late = ask(shop)
    shop.clock.advance(timedelta(seconds=601))
    with pytest.raises(ChallengeRefused):
        shop.engine.confirm_wallet(user_id="user-1", nonce=late.nonce, signature=sign_text(ALICE.key, late.message))


def test_a_wallet_has_one_user(shop):
    for user, error in (("user-1", None), ("user-1", None), ("user-2", AlreadyExists)):
        challenge = ask(shop, user)
        signature = sign_text(ALICE.key, challenge.message)
        if error is None:
            shop.engine.confirm_wallet(user_id=user, nonce=challenge.nonce, signature=signature)
        else:
            with pytest.raises(error):
                shop.engine.confirm_wallet(user_id=user, nonce=challenge.nonce, signature=signature)


@pytest.mark.fault("S23")
@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("wallet", "0X" + "1" * 40),
        ("domain", "shop.example\nURI: https://evil.example"),
        ("domain", ""),
        ("domain", "user@shop.example"),
        ("uri", "https://evil.example/account"),
        ("uri", "https://shop.example.evil.example/"),
        ("uri", "javascript:alert(1)"),
        ("uri", "https://shop.example/\u202e"),
        ("uri", "https://shop.example/a\nNonce: 1"),
        ("uri", "https://[shop.example/"),
        ("user_id", "two words"),
    ],
)
def test_s23_nothing_can_be_injected_into_the_message(shop, field, value):
    with pytest.raises(InputError) as refused:
        ask(shop, **({"user": value} if field == "user_id" else {field: value}))
    assert refused.value.field == field


def test_an_unknown_network_is_named(shop):
    with pytest.raises(UnknownNetwork):
        ask(shop, network="nowhere")


@pytest.mark.fault("S08")
@pytest.mark.parametrize("signature", [b"", b"\0" * 64, b"\0" * 65, b"\xff" * 65, b"\1" * 66, b"\1" * 100_000])
def test_s08_no_bytes_are_a_signature_but_the_right_ones(shop, signature):
    challenge = ask(shop)
    with pytest.raises(ChallengeRefused):
        shop.engine.confirm_wallet(user_id="user-1", nonce=challenge.nonce, signature=signature)
