"""Keys that sign orders.

Clauses of the contract; ``evmbilling.testing.conformance.SignerConformance`` holds a signer to each of them:

1. A signature over typed data recovers to ``address``, an EIP-55 address, and to no other data: not of another chain,
   contract, amount or order.
2. It is 65 bytes ``r ‖ s ‖ v`` with v 27 or 28 and low s (EIP-2), whatever the data.
3. Unless it is ``remote``, it is the one of RFC 6979: the same data has the same signature every time.
4. Values up to their type's edge (uint256, bytes of any length, arrays, structs within structs) are signed exactly.
5. The typed data is read, never changed.
6. A key that cannot be used is a ProviderError; the next call that can use it works.
7. The key is in no ``repr``, error, copy or pickle.
8. Any number of threads may sign at once.
"""

from __future__ import annotations

from typing import Any, Protocol


class Signer(Protocol):
    """Holds one key. Signing is local and deterministic (RFC 6979) unless ``remote`` says otherwise."""

    @property
    def address(self) -> str:
        """The EIP-55 address that signatures recover to."""
        ...

    @property
    def remote(self) -> bool:
        """Whether signing needs the network; then ``quote`` first, sign, and check out with the quote."""
        ...

    def sign_typed_data(self, typed_data: dict[str, Any]) -> bytes:
        """Sign full EIP-712 typed data; return 65 bytes ``r ‖ s ‖ v`` with v 27 or 28 and low s.

        Raises:
            ProviderError: the key cannot be used.

        """
        ...
