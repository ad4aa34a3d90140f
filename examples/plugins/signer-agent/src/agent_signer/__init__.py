"""A signer whose key lives in another process, as keys of ssh do: billing asks it over a Unix socket."""

from __future__ import annotations

from pydantic import BaseModel, ConfigDict

from agent_signer.signer import AgentSigner
from evmbilling.plugins import Registry, hookimpl
from evmbilling.ports.signer import Signer

__all__ = ["AgentOptions", "AgentSigner", "evmbilling_register_signers"]


class AgentOptions(BaseModel):
    """``key`` is the path of the agent's socket: a gateway's signer is written ``plugin:agent:/run/agent.sock``."""

    model_config = ConfigDict(extra="forbid", frozen=True)

    key: str
    timeout: float = 5.0


@hookimpl
def evmbilling_register_signers(registry: Registry[Signer]) -> None:
    """Register the signer."""
    registry.add("agent", make, implements=AgentSigner, options=AgentOptions)


def make(options: AgentOptions) -> AgentSigner:
    """Build a signer from its options."""
    return AgentSigner(options.key, timeout=options.timeout)
