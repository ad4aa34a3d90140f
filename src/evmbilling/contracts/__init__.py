"""The Solidity contracts of this package, compiled.

``artifact("Checkout")`` is the payment contract, ``artifact("Mandates")`` the one that pulls, ``artifact("Till")``
takes tokens by a signature for one treasury, ``artifact("Deposits")`` sweeps deposit addresses, each of which is an
``artifact("DepositAddress")``. ``SignatureCheck`` and ``TransferProbe`` are never deployed, only called. The other
names are helpful or misbehaving contracts for tests and demonstrations: TestToken, NoReturnToken, RetFalseToken,
FeeToken, ShareToken, LieToken, ListToken, HookToken, PhantomToken, NFTish, AuthorizedToken, Many, Forwarder,
SlotProxy, AllowancePermit2, TransferPermit2, and Bazaar, ClubPass, KeyLock, PaidPass, PullPass, WitnessShop and
ZeroPass, which sell as somebody else's contracts would. Sources are in the ``solidity`` folder beside this file; in
the repository, ``tools/compile_contracts.py --check`` proves that the artefacts are what the sources compile to.
"""

from __future__ import annotations

import json
from functools import cache
from importlib import resources
from typing import TYPE_CHECKING, Any

from attrs import field, frozen

from evmbilling.errors import NotFound

if TYPE_CHECKING:
    from importlib.resources.abc import Traversable

__all__ = ["Artifact", "artifact", "artifact_names"]


@frozen(kw_only=True)
class Artifact:
    """One compiled contract.

    Attributes:
        name: the contract's name in its source.
        abi: the contract ABI, as ``web3`` takes it.
        bytecode: the creation code; ABI-encoded constructor arguments are appended to it.
        deployed_bytecode: the code on chain, with zeros where immutables are written at deployment.
        compiler: the full version of solc.
        immutables: ``(start, length)`` of each immutable in ``deployed_bytecode``, in bytes.

    """

    name: str
    abi: tuple[Any, ...] = field(repr=False)
    bytecode: bytes = field(repr=False)
    deployed_bytecode: bytes = field(repr=False)
    compiler: str
    immutables: tuple[tuple[int, int], ...] = field(default=(), repr=False)

    def matches(self, code: bytes) -> bool:
        """Whether ``code``, read from a chain, is this contract: equal but for the immutables."""
        masked = bytearray(code)
        for start, length in self.immutables:
            masked[start : start + length] = bytes(length)
        return len(code) == len(self.deployed_bytecode) and bytes(masked) == self.deployed_bytecode


def artifact_names() -> tuple[str, ...]:
    """Return the names that ``artifact`` knows, sorted."""
    files = (entry.name for entry in _folder().iterdir())
    return tuple(sorted(name.removesuffix(".json") for name in files if name.endswith(".json")))


@cache
def artifact(name: str) -> Artifact:
    """Return a compiled contract by its name; it is read from the package on first use.

    Raises:
        NotFound: there is no contract of that name.

    """
    known = artifact_names()
    if name not in known:
        raise NotFound(f"There is no contract {name!r}; there are {', '.join(known)}.", field="name")
    record = json.loads((_folder() / f"{name}.json").read_text(encoding="utf-8"))
    return Artifact(
        name=record["name"],
        abi=tuple(record["abi"]),
        bytecode=bytes.fromhex(record["bytecode"][2:]),
        deployed_bytecode=bytes.fromhex(record["deployedBytecode"][2:]),
        compiler=record["compiler"],
        immutables=tuple((start, length) for start, length in record["immutableReferences"]),
    )


def _folder() -> Traversable:
    return resources.files(__name__) / "artifacts"
