"""The agent: holds the key, signs what it is asked to. ``python -m agent_signer.agent SOCKET KEYFILE``."""

from __future__ import annotations

import json
import os
import socketserver
import sys
from pathlib import Path
from typing import Any

from evmbilling.adapters.signers import LocalSigner
from evmbilling.ports.signer import Signer


class Agent(socketserver.ThreadingUnixStreamServer):
    """Answers on a socket that only its owner may open."""

    daemon_threads = True
    request_queue_size = 128  # a socket that nobody has accepted from yet refuses more than these

    def __init__(self, path: str, signer: Signer) -> None:
        self.signer = signer
        before = os.umask(0o177)
        try:
            super().__init__(path, _Conversation)
        finally:
            os.umask(before)

    def answer(self, question: Any) -> dict[str, Any]:
        """Return the answer to one question."""
        if isinstance(question, dict) and "sign" in question:
            return {"answer": self.signer.sign_typed_data(question["sign"]).hex()}
        if isinstance(question, dict) and "address" in question:
            return {"answer": self.signer.address}
        return {"refused": "unknown question"}


class _Conversation(socketserver.StreamRequestHandler):
    server: Agent

    def handle(self) -> None:
        try:
            said = self.server.answer(json.loads(self.rfile.readline()))
        except Exception as error:  # noqa: BLE001  - whatever was asked, the agent lives on
            said = {"refused": type(error).__name__}
        self.wfile.write(json.dumps(said).encode() + b"\n")


def main(path: str, keyfile: str) -> None:
    """Serve until the process ends."""
    with Agent(path, LocalSigner(Path(keyfile).read_text().strip())) as agent:
        agent.serve_forever()


if __name__ == "__main__":
    main(*sys.argv[1:3])
