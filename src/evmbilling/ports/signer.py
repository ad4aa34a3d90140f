"""Keys that sign orders."""

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
