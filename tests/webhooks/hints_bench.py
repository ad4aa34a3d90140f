from __future__ import annotations

import base64
import json
from typing import Any

from evmbilling.domain.messages.hints import parse_secrets, sign_webhook
from evmbilling.testing.merchant import SimulatedMerchant

SECRET = "whsec_" + base64.b64encode(b"a contract's own secret: 32 byte").decode()
RELAY_KEY = parse_secrets(SECRET)[0]
VECTOR_SECRET = "whsec_MfKQ9r8GKYqrTwjUPD8ILPZIo2LaLaSw"


class Relay:
    """Somebody who tells the merchant about transactions."""

    def __init__(self, shop: SimulatedMerchant, key: bytes) -> None:
        self.shop, self.key = shop, key

    def body(self, tx_hash: bytes, **more: Any) -> bytes:
        return json.dumps({"chain_id": 31337, "tx_hash": "0x" + tx_hash.hex()} | more).encode()

    def headers(
        self, body: bytes, event_id: str = "msg_1", *, shift: int = 0, key: bytes | None = None
    ) -> dict[str, str]:
        timestamp = str(int(self.shop.clock.now().timestamp()) + shift)
        return {
            "webhook-id": event_id,
            "webhook-timestamp": timestamp,
            "webhook-signature": sign_webhook(key or self.key, event_id, timestamp, body),
        }

    def send(self, body: bytes, headers: Any = None, source: str = "checkout") -> Any:
        return self.shop.engine.handle_webhook(source, body, self.headers(body) if headers is None else headers)
