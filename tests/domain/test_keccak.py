"""Keccak-256 by the C functions of pycryptodome is what eth-hash says, whoever else hashes meanwhile."""

from __future__ import annotations

import ctypes
import hashlib
import os
import signal
import subprocess
import sys
import threading

import pytest
from eth_hash.auto import keccak as of_eth_hash

from evmbilling._keccak import keccak, keccak_of_pycryptodome


def texts():
    seed = hashlib.sha256(b"keccak").digest() * 40
    return [seed[:length] for length in (*range(300), 1_000, len(seed))]


def test_the_installed_pycryptodome_is_one_that_is_known():
    assert keccak_of_pycryptodome() is not None


def test_says_what_eth_hash_says():
    assert [keccak(text) for text in texts()] == [bytes(of_eth_hash(text)) for text in texts()]


def test_threads_hash_at_once():
    expected = {text: bytes(of_eth_hash(text)) for text in texts()}
    wrong = []

    def hash_all():
        wrong.extend(text for _ in range(20) for text in expected if keccak(text) != expected[text])

    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    try:
        threads = [threading.Thread(target=hash_all) for _ in range(4)]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
    finally:
        sys.setswitchinterval(before)
    assert not wrong


def test_a_signal_in_the_middle_of_a_hash_changes_nothing():
    heard = []
    before = signal.signal(signal.SIGALRM, lambda *_: heard.append(keccak(b"meanwhile")))
    signal.setitimer(signal.ITIMER_REAL, 0.0002, 0.0002)
    try:
        found = set()
        while len(heard) < 200:
            found.add(keccak(b"an order"))
    finally:
        signal.setitimer(signal.ITIMER_REAL, 0)
        signal.signal(signal.SIGALRM, before)
    assert found == {bytes(of_eth_hash(b"an order"))}
    assert set(heard) == {bytes(of_eth_hash(b"meanwhile"))}


def test_what_is_no_bytes_is_refused_and_leaves_no_trace():
    with pytest.raises(ctypes.ArgumentError):
        keccak("text")
    assert keccak(b"") == bytes(of_eth_hash(b""))


def test_whoever_names_a_library_gets_it():
    told = "from evmbilling._keccak import keccak; print(keccak.__name__, keccak(b'').hex())"
    environment = {**os.environ, "ETH_HASH_BACKEND": "pycryptodome"}
    done = subprocess.run([sys.executable, "-c", told], check=True, capture_output=True, text=True, env=environment)
    assert done.stdout.split() == ["<lambda>", bytes(of_eth_hash(b"")).hex()]
