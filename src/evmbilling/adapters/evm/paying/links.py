"""Payment links (ERC-681)."""

from __future__ import annotations

from evmbilling.domain.money import Asset


def erc681_transfer(asset: Asset, to: str, amount: int) -> str:
    """Return the link for a plain transfer of ``amount`` base units to an address.

    A signed contract order has no such link: ERC-681 cannot carry a struct.
    """
    if asset.is_native:
        return f"ethereum:{to}@{asset.chain_id}?value={amount}"
    return f"ethereum:{asset.token}@{asset.chain_id}/transfer?address={to}&uint256={amount}"
