"""Call templates: read from plain data, checked against an ABI, encoded as web3 encodes."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from web3 import Web3

from evmbilling.adapters.evm.bindings.call_encoding import compile_call
from evmbilling.adapters.evm.bindings.call_values import values_of
from evmbilling.domain.addresses import ZERO_ADDRESS, checksum
from evmbilling.domain.catalogue.call_templates import PLACEHOLDERS, SIGNED, parse_template, template_json, template_of
from evmbilling.errors import InputError
from sampling import examples

VALUES = values_of(
    addresses={
        "payer": checksum(b"\1" * 20),
        "beneficiary": checksum(b"\2" * 20),
        "treasury": checksum(b"\3" * 20),
        "token": checksum(b"\4" * 20),
        "contract": checksum(b"\5" * 20),
        "zero_address": ZERO_ADDRESS,
        "receiver": "0x" + "07" * 20,
    },
    numbers={
        "amount": 19_990_000,
        "quantity": 2,
        "deadline": 1_900_000_000,
        "period_end": 0,
        "subscription": 2**127,
        "token_id": 7,
    },
    reference=bytes(range(32)),
    plan="pro@3",
    plan_digest=b"\6" * 32,
)


def function(name: str, *inputs: dict[str, Any], mutability: str = "nonpayable") -> dict[str, Any]:
    return {"type": "function", "name": name, "inputs": list(inputs), "outputs": [], "stateMutability": mutability}


def of(kind: str, name: str = "", components: list[dict[str, Any]] | None = None) -> dict[str, Any]:
    return {"type": kind, "name": name} | ({"components": components} if components is not None else {})


def compiled(abi: list[dict[str, Any]], template: dict[str, Any]):
    return compile_call(parse_template(template, field="mint_method"), json.dumps(abi), path="mint_method")


# -- the same bytes as web3


def leaf() -> st.SearchStrategy[tuple[dict[str, Any], Any, Any]]:
    """A type, a value as a template writes it, and as web3 takes it."""
    widths = st.sampled_from(range(8, 257, 8))
    unsigned = widths.flatmap(
        lambda w: st.integers(0, 2**w - 1).map(lambda v: (of(f"uint{w}"), v if v % 2 else str(v), v))
    )
    signed = widths.flatmap(
        lambda w: st.integers(-(2 ** (w - 1)), 2 ** (w - 1) - 1).map(lambda v: (of(f"int{w}"), str(v), v))
    )
    octets = st.integers(1, 32).flatmap(
        lambda w: st.binary(min_size=w, max_size=w).map(lambda v: (of(f"bytes{w}"), "0x" + v.hex(), v))
    )
    dynamic = st.binary(max_size=80).map(lambda v: (of("bytes"), "0x" + v.hex(), v))
    text = st.text(st.characters(blacklist_categories=["Cs"], blacklist_characters="\0"), max_size=40).map(
        lambda v: (of("string"), "{" + v if v.startswith("{") else v, v)
    )
    address = st.binary(min_size=20, max_size=20).map(lambda v: (of("address"), checksum(v), checksum(v)))
    flag = st.booleans().map(lambda v: (of("bool"), v, v))
    names = sorted(set(PLACEHOLDERS) - {"empty_bytes", "plan", "subscription", "refund_id"} - SIGNED)
    filled = st.sampled_from(names).map(lambda n: (of(_type_for(n)), f"{{{n}}}", VALUES[n]))
    return st.one_of(unsigned, signed, octets, dynamic, text, address, flag, filled)


def _type_for(name: str) -> str:
    value = VALUES[name]
    return "address" if isinstance(value, str) else "bytes32" if isinstance(value, bytes) else "uint256"


def wrap(inner: st.SearchStrategy[tuple[dict[str, Any], Any, Any]]) -> st.SearchStrategy[Any]:
    def array(item: tuple[dict[str, Any], Any, Any], length: int, *, fixed: bool) -> tuple[dict[str, Any], Any, Any]:
        kind, plain, real = item
        size = str(max(length, 1)) if fixed else ""
        count = max(length, 1) if fixed else length
        return kind | {"type": f"{kind['type']}[{size}]"}, [plain] * count, [real] * count

    def together(items: list[tuple[dict[str, Any], Any, Any]], *, named: bool) -> tuple[dict[str, Any], Any, Any]:
        parts = [kind | {"name": f"m{at}"} for at, (kind, _, _) in enumerate(items)]
        plain: Any = [value for _, value, _ in items]
        given = {f"m{at}": value for at, value in enumerate(plain)} if named else plain
        return of("tuple", components=parts), given, tuple(real for _, _, real in items)

    arrays = st.builds(array, inner, st.integers(0, 3), fixed=st.booleans())
    return st.one_of(arrays, st.builds(together, st.lists(inner, min_size=1, max_size=3), named=st.booleans()))


arguments = st.lists(st.recursive(leaf(), wrap, max_leaves=8), max_size=4)


@settings(max_examples=examples(150))
@given(arguments)
def test_a_call_is_encoded_as_web3_encodes_it(items):
    inputs = [kind | {"name": f"a{at}"} for at, (kind, _, _) in enumerate(items)]
    abi = [function("act", *inputs)]
    template = {"method": "act", "args": [plain for _, plain, _ in items]}
    made = compiled(abi, template)
    contract = Web3().eth.contract(address=checksum(b"\7" * 20), abi=abi)
    expected = contract.encode_abi("act", args=[real for _, _, real in items])
    assert "0x" + made.encode(VALUES).hex() == expected
    # What is stored is one text, and means the same.
    text = template_json(parse_template(template, field="mint_method"))
    assert template_json(template_of(text)) == text
    assert compile_call(template_of(text), json.dumps(abi), path="x").encode(VALUES).hex() == expected[2:]


# -- what is refused, and where

SHARE = [of("address", "who"), of("uint96", "units"), of("bytes4", "mark")]
ABI = [
    function("join", of("tuple[]", "items", SHARE), of("uint8", "kind"), of("bytes", "data")),
    function("join", of("uint256", "amount")),
    function("buy", of("uint256", "amount"), mutability="payable"),
    function("two", of("uint256[2]", "pair")),
    function("named", of("tuple", "order", [of("tuple[]", "items", SHARE), of("bytes32", "ref")])),
    function("flags", of("bool", "flag"), of("string", "text"), of("uint64", "number")),
]
JOIN = "join((address,uint96,bytes4)[],uint8,bytes)"
ONE = ["{payer}", 1, "0x01020304"]
NOBODY = ["nobody", 1, "0x01020304"]
NAMED = {"who": "{amount}", "units": 1, "mark": "0x01020304"}


@pytest.mark.parametrize(
    ("template", "field", "said"),
    [
        ({"method": "leave"}, "method", "no function leave"),
        ({"method": "join", "args": [1]}, "method", "several of this name"),
        ({"method": "join(uint96)", "args": [1]}, "method", "no function"),
        ({"method": "join(uint)", "args": []}, "args", "takes 1 arguments, 0"),
        ({"method": JOIN, "args": [[ONE], 256, "0x"]}, "args[1]", "does not fit a uint8"),
        ({"method": JOIN, "args": [[ONE], -1, "0x"]}, "args[1]", "does not fit a uint8"),
        ({"method": JOIN, "args": [[ONE], True, "0x"]}, "args[1]", "a uint8 is expected"),
        ({"method": JOIN, "args": [[ONE], "1e3", "0x"]}, "args[1]", "a whole number"),
        ({"method": JOIN, "args": [[ONE], 1, "0x1"]}, "args[2]", "hex digits"),
        ({"method": JOIN, "args": [[ONE], 1, 7]}, "args[2]", "written as text"),
        ({"method": JOIN, "args": [[ONE, ["{payer}", 1]], 1, "0x"]}, "args[0][1]", "3 members are expected"),
        ({"method": JOIN, "args": [[ONE, ["{payer}", 1, "0x01"]], 1, "0x"]}, "args[0][1][2]", "4 bytes are expected"),
        ({"method": JOIN, "args": [[NAMED], 1, "0x"]}, "args[0][0].who", "cannot be a address"),
        ({"method": JOIN, "args": [[{"who": "{payer}", "units": 1}], 1, "0x"]}, "args[0][0]", "exactly the members"),
        ({"method": JOIN, "args": ["{payer}", 1, "0x"]}, "args[0]", "a list is expected"),
        ({"method": JOIN, "args": [[ONE], [1], "0x"]}, "args[1]", "one value is expected"),
        ({"method": JOIN, "args": [["0x1234"], 1, "0x"]}, "args[0][0]", "members of a tuple"),
        ({"method": "two", "args": [[1]]}, "args[0]", "2 items are expected, 1"),
        ({"method": "named", "args": [{"items": [NOBODY], "ref": "{reference}"}]}, "args[0].items[0][0]", "40 hex"),
        ({"method": "named", "args": [{"items": [], "ref": "{subscription}"}]}, "args[0].ref", "cannot be a bytes32"),
        ({"method": "flags", "args": [1, "x", 1]}, "args[0]", "true or false"),
        ({"method": "flags", "args": [True, 5, 1]}, "args[1]", "written as text"),
        ({"method": "flags", "args": [True, "x", "{subscription}"]}, "args[2]", "cannot be a uint64"),
        ({"method": "flags", "args": [True, "x", "{refrence}"]}, "args[2]", "no such placeholder"),
        ({"method": "flags", "args": [True, "x", None]}, "args[2]", "an argument is"),
        ({"method": "flags", "args": [True, "x", 1.5]}, "args[2]", "an argument is"),
        ({"method": "flags", "args": [True, "x", 1], "value": 5}, "value", "takes no native coin"),
        ({"method": "buy", "args": [1], "value": -5}, "value", "an amount is"),
        ({"method": "buy", "args": [1], "value": "{payer}"}, "value", "an amount is"),
        ({"method": "buy", "args": [1], "approve": {"spender": "{payer}"}}, "approve.spender", "a spender is"),
        ({"method": "buy", "args": [1], "approve": {"spender": "0x12"}}, "approve.spender", "40 hex"),
        ({"method": "buy", "args": [1], "approve": {"who": 1}}, "approve", "a spender and an amount"),
        ({"method": "buy", "args": {"amount": 1}}, "args", "a list"),
        ({"method": "buy", "arguments": []}, "", "a call has a method"),
        ({"args": []}, "", "a call has a method"),
        ({"method": "buy", "args": [[[[[[[[[[1]]]]]]]]]]}, "args" + "[0]" * 9, "nest at most"),
    ],
)  # fmt: skip
def test_what_does_not_fit_is_refused_with_its_place(template, field, said):
    with pytest.raises(InputError) as refused:
        compiled(ABI, template)
    assert refused.value.field == ("mint_method." + field).rstrip(".")
    assert said in refused.value.message


def test_a_value_of_an_order_that_does_not_fit_is_refused_when_it_comes():
    made = compiled(ABI, {"method": "flags", "args": [False, "x", "{amount}"]})
    assert len(made.encode(VALUES)) == 4 + 5 * 32
    with pytest.raises(InputError) as refused:
        made.encode({**VALUES, "amount": 2**64})
    assert refused.value.field == "mint_method.args[2]"


def test_references_are_written_as_their_types_want_them():
    reference = VALUES["reference"]
    abi = [function("act", of("bytes32"), of("uint256"), of("bytes"), of("string"))]
    made = compiled(abi, {"method": "act", "args": ["{reference}"] * 4})
    contract = Web3().eth.contract(address=checksum(b"\7" * 20), abi=abi)
    args = [reference, int.from_bytes(reference, "big"), reference, "0x" + reference.hex()]
    assert "0x" + made.encode(VALUES).hex() == contract.encode_abi("act", args=args)
    assert made.mark(reference) == Web3.keccak(reference)
    assert compiled([function("act", of("bytes32"))], {"method": "act", "args": ["{reference}"]}).mark(reference) == b""
    for kind in ("bytes16", "uint128", "address", "bool"):
        with pytest.raises(InputError, match="cannot be"):
            compiled([function("act", of(kind))], {"method": "act", "args": ["{reference}"]})


def test_braces_can_be_meant_as_they_are():
    abi = [function("act", of("string"))]
    assert b"{payer}" in compiled(abi, {"method": "act", "args": ["{{payer}"]}).encode(VALUES)
