"""A notifier that posts events to a chat room's incoming webhook."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from chat_notifier.notifier import ChatNotifier
from evmbilling.domain.secrets import parse_secret_ref
from evmbilling.plugins import Registry, hookimpl
from evmbilling.ports.notifier import Notifier
from evmbilling.ports.secrets import Secrets

__all__ = ["ChatNotifier", "ChatOptions", "evmbilling_register_notifiers"]


class ChatOptions(BaseModel):
    """``url`` of the room; ``token`` is a reference, ``env:NAME`` or ``file:/path``, never the token itself."""

    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)

    url: str
    token: str
    timeout: float = 10.0


@hookimpl
def evmbilling_register_notifiers(registry: Registry[Notifier]) -> None:
    """Register the notifier."""
    registry.add("chat", make, implements=ChatNotifier, options=ChatOptions)


def make(options: ChatOptions, secrets: Secrets) -> ChatNotifier:
    """Build a notifier from its options; the engine lends what resolves references."""
    token = secrets.reveal(parse_secret_ref(options.token, field="token"))
    return ChatNotifier(options.url, token, timeout=options.timeout)
