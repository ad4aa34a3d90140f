"""``python -m examples.fastapi_app``: the shop on a local chain, with a funded wallet in the page."""

from __future__ import annotations

from examples.shop.local import main

from .serving import serve

main(serve)
