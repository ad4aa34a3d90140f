"""Addresses: one exact form, the checksum of EIP-55."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from evmbilling.domain.addresses import NATIVE_COIN, ZERO_ADDRESS, address_bytes, checksum, parse_address
from evmbilling.errors import InvalidAddress

# The examples of EIP-55: all capitals, all lower case, mixed.
EIP_55 = [
    "0x52908400098527886E0F7030069857D2E4169EE7",
    "0x8617E340B3D01FA5F11F306F4090FD50E238070D",
    "0xde709f2102306220921060314715629080e2fb77",
    "0x27b1fdb04752bbc536007a920d24acb045561c26",
    "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed",
    "0xfB6916095ca1df60bB79Ce92cE3Ea74c37c5d359",
    "0xdbF03B407c01E7cD3CBea99509d93f8DDDC8C6FB",
    "0xD1220A0cf47c7B9Be7A2E6BA89F429762e7b9aDb",
]
GOOD = EIP_55[4]
addresses = st.binary(min_size=20, max_size=20).filter(any).map(checksum)


def refusal(value, **options) -> InvalidAddress:
    with pytest.raises(InvalidAddress) as caught:
        parse_address(value, field="wallet", **options)
    assert caught.value.field == "wallet"
    return caught.value


@pytest.mark.parametrize("address", EIP_55)
def test_the_examples_of_eip_55_are_accepted_in_every_form_without_a_wrong_checksum(address):
    assert checksum(address_bytes(address)) == address
    for form in (address, "0x" + address[2:].lower(), "0x" + address[2:].upper()):
        assert parse_address(form, field="wallet") == address


@given(address=addresses)
def test_parsing_is_idempotent_and_loses_nothing(address):
    assert parse_address(address, field="wallet") == address
    assert parse_address(address.lower(), field="wallet") == address
    assert checksum(address_bytes(address)) == address


@pytest.mark.fault("T17")
@pytest.mark.parametrize("address", EIP_55[4:])
def test_t17_each_single_flipped_letter_fails_the_checksum(address):
    letters = [i for i, c in enumerate(address) if i > 1 and c.isalpha()]
    assert len(letters) > 9
    for i in letters:
        assert "EIP-55" in refusal(address[:i] + address[i].swapcase() + address[i + 1 :]).message


@pytest.mark.fault("T17")
@given(address=addresses, data=st.data())
def test_t17_any_other_mixture_of_cases_is_refused(address, data):
    mask = data.draw(st.lists(st.booleans(), min_size=40, max_size=40))
    digits = "".join(c.upper() if up else c.lower() for c, up in zip(address[2:], mask, strict=True))
    if digits in (digits.lower(), digits.upper(), address[2:]):
        assert parse_address("0x" + digits, field="wallet") == address
    else:
        refusal("0x" + digits)


FULL_WIDTH = str.maketrans("0123456789", "".join(chr(0xFF10 + n) for n in range(10)))
BAD_FORMS = {
    "full-width digits": GOOD.translate(FULL_WIDTH).replace(chr(0xFF10) + "x", "0x", 1),
    "arabic digits": GOOD.replace("5", "\u0665"),
    "leading space": " " + GOOD,
    "trailing space": GOOD + " ",
    "trailing newline": GOOD + "\n",
    "inner zero-width space": GOOD[:20] + "\u200b" + GOOD[20:],
    "capital prefix": "0X" + GOOD[2:],
    "no prefix": GOOD[2:],
    "too short": GOOD[:-1],
    "too long": GOOD + "0",
    "no hex": GOOD[:-1] + "g",
    "cyrillic letter": GOOD.replace("a", "\u0430", 1),
    "empty": "",
    "name": "vitalik.eth",
    "bytes": GOOD.encode(),
    "raw bytes": bytes(20),
    "number": int(GOOD, 16),
    "none": None,
}


@pytest.mark.fault("T18")
@pytest.mark.parametrize("form", BAD_FORMS)
def test_t18_only_0x_and_40_ascii_hex_digits_are_an_address(form):
    assert refusal(BAD_FORMS[form]).field == "wallet"


@pytest.mark.fault("T18")
@given(text=st.text(max_size=44))
def test_t18_any_text_is_an_address_or_a_typed_error(text):
    try:
        assert address_bytes(parse_address(text, field="wallet"))
    except InvalidAddress as error:
        assert error.field == "wallet"  # noqa: PT017  - both outcomes are legal


def test_the_zero_address_needs_leave():
    assert "zero address" in refusal(ZERO_ADDRESS).message
    assert parse_address(ZERO_ADDRESS, field="wallet", allow_zero=True) == ZERO_ADDRESS


def test_the_native_coin_has_a_well_formed_placeholder():
    assert parse_address(NATIVE_COIN, field="token") == NATIVE_COIN
