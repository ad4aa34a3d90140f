"""The signer: one question and one answer a connection, each one line of JSON."""

from __future__ import annotations

import json
import socket
from typing import Any

from evmbilling.errors import ProviderError

SIGNATURE_BYTES = 65


class AgentSigner:
    """Asks an agent for signatures (port :class:`evmbilling.ports.signer.Signer`). Safe for threads.

    Args:
        path: the agent's Unix socket; whoever may open it may have orders signed.
        timeout: seconds that an answer may take.

    """

    def __init__(self, path: str, *, timeout: float = 5.0) -> None:
        self._path = path
        self._timeout = timeout
        self._address: str | None = None

    def __repr__(self) -> str:
        return f"<AgentSigner {self._path}>"

    @property
    def address(self) -> str:
        """The EIP-55 address that signatures recover to; asked for once.

        Raises:
            ProviderError: the agent does not answer.

        """
        if self._address is None:
            self._address = str(self._ask({"address": True}))
        return self._address

    @property
    def remote(self) -> bool:
        """Whether signing needs the network: the socket is on this machine and answers in a millisecond."""
        return False

    def sign_typed_data(self, typed_data: dict[str, Any]) -> bytes:
        """Have typed data signed; bytes travel as hex, numbers as JSON's own, which have no largest.

        Raises:
            ProviderError: the agent does not answer, or refuses.

        """
        signature = bytes.fromhex(str(self._ask({"sign": _portable(typed_data)})))
        if len(signature) != SIGNATURE_BYTES:
            raise ProviderError("the signing agent answered something that is no signature")
        return signature

    def _ask(self, question: dict[str, Any]) -> Any:
        try:
            with socket.socket(socket.AF_UNIX) as connection:
                connection.settimeout(self._timeout)
                connection.connect(self._path)
                connection.sendall(json.dumps(question).encode() + b"\n")
                with connection.makefile("rb") as answers:
                    answer = json.loads(answers.readline())
        except (OSError, ValueError) as error:
            # What the agent says may quote what it was asked; the class of the error does not.
            raise ProviderError(f"the signing agent does not answer ({type(error).__name__})") from None
        if not isinstance(answer, dict) or "refused" in answer:
            raise ProviderError("the signing agent refuses")
        return answer.get("answer")


def _portable(value: Any) -> Any:
    """Return typed data as JSON takes it: bytes as 0x and hex, which EIP-712 reads the same."""
    if isinstance(value, bytes):
        return "0x" + value.hex()
    if isinstance(value, dict):
        return {name: _portable(one) for name, one in value.items()}
    if isinstance(value, list | tuple):
        return [_portable(one) for one in value]
    return value
