"""Keccak-256 is what Ethereum's other libraries say."""

from __future__ import annotations

import hashlib

import pytest
from eth_hash.auto import keccak as of_eth_hash

from evmbilling._keccak import keccak


def test_the_hash_of_nothing_is_the_one_of_the_yellow_paper():
    assert keccak(b"").hex() == "c5d2460186f7233c927e7db2dcc703c0e500b653ca82273b7bfad8045d85a470"


def test_says_what_eth_hash_says():
    seed = hashlib.sha256(b"keccak").digest() * 40
    texts = [seed[:length] for length in (*range(300), 1_000, len(seed))]
    assert [keccak(text) for text in texts] == [bytes(of_eth_hash(text)) for text in texts]


def test_what_is_no_bytes_is_refused():
    with pytest.raises(TypeError):
        keccak("text")
