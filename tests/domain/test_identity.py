"""Names of things."""

from __future__ import annotations

from uuid import UUID

import pytest
from eth_hash.auto import keccak
from hypothesis import given
from hypothesis import strategies as st

from evmbilling.domain.identity import (
    CreditIdentity,
    Product,
    is_ours,
    make_reference,
    parse_opaque,
    parse_product,
    parse_slug,
    plan_digest,
    subscription_token,
)
from evmbilling.errors import InputError

instances = st.binary(min_size=8, max_size=8)
ids = st.uuids().map(str)


@given(instance=instances, ledger_id=ids)
def test_a_reference_is_the_instance_and_a_hash_of_the_order(instance, ledger_id):
    reference = make_reference(instance, ledger_id)
    assert reference == instance + keccak(UUID(ledger_id).bytes)[:24]
    assert len(reference) == 32
    assert is_ours(reference, instance)


@given(one=instances, other=instances, ledger_id=ids)
def test_references_of_another_instance_are_not_ours(one, other, ledger_id):
    assert is_ours(make_reference(one, ledger_id), other) == (one == other)


@given(a=ids, b=ids)
def test_orders_have_references_of_their_own(a, b):
    assert (make_reference(bytes(8), a) == make_reference(bytes(8), b)) == (a == b)


def test_a_plan_version_has_a_digest_of_its_own():
    assert plan_digest("pro", 1) == keccak(b"pro@1")
    assert len({plan_digest("pro", 1), plan_digest("pro", 11), plan_digest("pro1", 1)}) == 3


@given(value=st.uuids())
def test_a_membership_token_is_the_subscription_as_a_number(value):
    assert subscription_token(str(value)) == value.int
    assert subscription_token(None) == 0


@pytest.mark.fault("C22")
def test_c22_the_same_movement_on_another_chain_is_another_credit():
    one, other = CreditIdentity(1, b"\1" * 32, 0), CreditIdentity(10, b"\1" * 32, 0)
    assert one != other
    assert str(one) == "1:0x" + "01" * 32 + ":0"
    assert sorted([other, one]) == [one, other]


GOOD_SLUGS = ["a", "0", "pro", "pro-2024", "a.b_c-d", "x" * 64]
BAD_SLUGS = ["", "-a", "a-", "A", "a b", "a/b", "a\n", "x" * 65, "é", "\uff41", "a%", ".", None, 3, b"a"]


@pytest.mark.parametrize("slug", GOOD_SLUGS)
def test_slugs_are_kept(slug):
    assert parse_slug(slug, field="slug") == slug


@pytest.mark.parametrize("slug", BAD_SLUGS)
def test_what_is_no_slug_is_refused(slug):
    with pytest.raises(InputError) as caught:
        parse_slug(slug, field="plan")
    assert caught.value.field == "plan"


@pytest.mark.parametrize("value", ["u", "user:1|x@y.example", "~" * 255, "%_'\";--"])
def test_opaque_ids_are_kept(value):
    assert parse_opaque(value, field="user_id") == value


@pytest.mark.fault("D23")
@pytest.mark.parametrize(
    "value", ["", " ", "a b", "a ", " a", "a\t", "a\n", "a\0", "\x7f", "ann\u0301", "\u00e4", "x" * 256, None, 7]
)
def test_d23_ids_that_databases_could_compare_differently_are_refused(value):
    with pytest.raises(InputError) as caught:
        parse_opaque(value, field="user_id")
    assert caught.value.field == "user_id"


@pytest.mark.parametrize(
    ("text", "product"),
    [("site", Product("site")), ("site/42", Product("site", "42")), ("site/a/b", Product("site", "a/b"))],
)
def test_products_are_read_and_written_alike(text, product):
    assert parse_product(text, field="product") == product
    assert parse_product(product, field="product") == product
    assert str(product) == text


@pytest.mark.parametrize(
    "value", ["", "/", "site/", "/42", "Site", "site/4 2", None, 3, Product("Site"), Product("a", "\n")]
)
def test_what_is_no_product_is_refused(value):
    with pytest.raises(InputError) as caught:
        parse_product(value, field="product")
    assert caught.value.field == "product"
