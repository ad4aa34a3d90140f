"""What is configured: networks, gateways, contracts and plans. Each row carries a version for optimistic updates."""

from __future__ import annotations

import re
from datetime import datetime
from typing import Literal

from attrs import field, frozen

from evmbilling.domain.identity import Product
from evmbilling.domain.money import Asset, FiatEstimate
from evmbilling.domain.pairs import Pairs, pairs
from evmbilling.domain.payments.misfits import MisfitPolicy
from evmbilling.domain.secrets import SecretRef
from evmbilling.domain.subscriptions.calendar import Interval
from evmbilling.domain.subscriptions.dunning import NO_DUNNING, DunningPolicy
from evmbilling.errors import InputError

_BLOCKS = re.compile(r"[1-9][0-9]{0,5}", re.ASCII)
_MOST_BLOCKS = 100_000
MAPPED = "mapped"
"""The kind of a contract that is bound by configuration: its ABI, how to call it, what its events mean."""
FinalityKind = Literal["depth", "safe", "finalized"]
HeightName = Literal["head", "safe", "finalized"]
DEFAULT_GAS: Pairs = (("native", 250_000), ("token", 300_000))
"""Gas units of one payment through the built-in contract, with room; a binding may state what was measured for it."""
DEFAULT_GAS_CEILING = 10**16
"""Wei: a hundredth of a coin for one transaction of ours."""


@frozen
class Finality:
    """When a block counts.

    Attributes:
        kind: ``depth`` counts confirmations; ``safe`` and ``finalized`` ask the node for its tag.
        blocks: confirmations wanted for ``depth``; for a tag the depth to use where the node has no such tag.

    """

    kind: FinalityKind
    blocks: int = 0

    def __str__(self) -> str:
        return f"{self.kind} {self.blocks}" if self.blocks else self.kind

    def threshold(self, block_number: int, heights: Heights) -> tuple[HeightName, int]:
        """Return which height has to reach which number before a block counts.

        A block has ``head - number + 1`` confirmations: the block at the head has one. ``depth n`` is reached at n
        confirmations. A tag that the node does not have gives way to the fallback depth, where there is one.
        """
        if self.kind != "depth" and (heights.of(self.kind) is not None or not self.blocks):
            return self.kind, block_number
        return "head", block_number + self.blocks - 1

    def deepest(self, heights: Heights) -> int | None:
        """Return the highest block that counts at these heights; None when none does."""
        name, above = self.threshold(0, heights)
        height = heights.of(name)
        return None if height is None or height < above else height - above

    def comes_after(self, other: Finality) -> bool:
        """Whether this is reached with ``other`` or later, as far as that can be said without a chain."""
        if self.kind == "finalized":
            return other.kind != "depth" or not self.blocks or self.blocks >= other.blocks
        return (self.kind == other.kind and self.blocks >= other.blocks) or (self.kind, other.kind) == ("depth", "safe")

    def reached(self, block_number: int, heights: Heights) -> bool:
        """Whether a block counts now."""
        name, needed = self.threshold(block_number, heights)
        height = heights.of(name)
        return height is not None and height >= needed


@frozen(kw_only=True)
class Heights:
    """How far a chain has come, as the reader last verified it: block numbers; None where the node has no tag."""

    head: int
    safe: int | None = None
    finalized: int | None = None

    def of(self, name: HeightName) -> int | None:
        """Return a height by its name."""
        return {"head": self.head, "safe": self.safe, "finalized": self.finalized}[name]


def parse_finality(value: object, *, field: str) -> Finality:
    """Read ``"depth 12"``, ``"safe"``, ``"finalized"`` or ``"finalized 64"`` (tag, else depth).

    Raises:
        InputError: anything else.

    """
    if isinstance(value, Finality):
        return value
    kind, _, blocks = value.partition(" ") if isinstance(value, str) else ("", "", "")
    if kind not in ("depth", "safe", "finalized") or (kind == "depth" and not blocks):
        raise InputError('finality is "depth N", "safe" or "finalized", optionally with a fallback depth', field=field)
    if blocks and not (_BLOCKS.fullmatch(blocks) and int(blocks) <= _MOST_BLOCKS):
        raise InputError("a depth is a whole number of blocks from 1 to 100000", field=field)
    return Finality(kind, int(blocks) if blocks else 0)  # type: ignore[arg-type]  # checked above


@frozen(kw_only=True)
class Network:
    """One chain and how it is read (row E6).

    Attributes:
        name: our slug; ``chain_id`` is unique among networks too.
        rpc_urls: secrets, in order of preference.
        testnet: test networks never count in MRR or revenue.
        credit_after: when money gives access.
        irreversible_after: when we stop doubting; a reorg below halts the network.
        fallback_networks: names to quote on when this one halts or lags.
        max_lag: seconds that the last block read may be old before the network counts as lagging; None for no limit.
        start_block: where reading begins when there is no cursor; None means the first bound contract's block.
        rpc_retries: attempts per call; ``rpc_timeout`` in seconds.
        gas_price_cap: wei per gas for our own transactions; None for no cap.
        disputed_access: whether access stays open while credits are disputed.
        explorer_url: prefix for links to people.
        agreement_above: (symbol, base units): money above is credited only when ``quorum`` nodes show its transaction,
            each by itself. Empty: what one node says is enough.
        allowed_contracts, allowed_tokens: the only addresses that may be bound there, and that prices may be in. None:
            any. The native coin needs no list.

    """

    name: str
    chain_id: int
    rpc_urls: tuple[SecretRef, ...] = field(repr=False)
    testnet: bool = False
    native_symbol: str = "ETH"
    credit_after: Finality = Finality("depth", 12)
    irreversible_after: Finality = Finality("finalized", 96)
    fallback_networks: tuple[str, ...] = ()
    max_lag: int | None = None
    start_block: int | None = None
    rpc_retries: int = 3
    rpc_timeout: int = 10
    gas_price_cap: int | None = None
    disputed_access: bool = True
    explorer_url: str | None = None
    agreement_above: Pairs = field(default=(), converter=pairs)
    quorum: int = 2
    allowed_contracts: tuple[str, ...] | None = None
    allowed_tokens: tuple[str, ...] | None = None
    version: int = 1
    archived_at: datetime | None = None

    def needs_agreement(self, symbol: str, amount: int) -> bool:
        """Whether one node's word is not enough for so much money."""
        limit = dict(self.agreement_above).get(symbol)
        return limit is not None and amount > limit

    def witnesses_missing(self) -> str:
        """Return in words that fewer nodes are configured than have to agree; empty when there are enough."""
        if not self.agreement_above or len(self.rpc_urls) >= self.quorum:
            return ""
        return f"{self.quorum} nodes shall agree about large amounts, {len(self.rpc_urls)} are configured"


@frozen(kw_only=True)
class PaymentGateway:
    """A configured payment provider (row E3).

    Attributes:
        provider: name of a registered provider, ``evm`` for the built-in one.
        networks: names of the networks it sells on.
        signer: where the order-signing key is; it signs offers and cannot move money.
        treasuries: (network name, address) pairs: who receives the money.
        order_ttl: seconds that an offer stays payable.
        credit_after: overrides the network's own policy when set.
        misfits: what happens to money that does not fit.
        relayer: where the key is that sends our own transactions; its process is a worker. None: people send them.
        gas_ceiling: wei that one of them may cost in fees.

    """

    slug: str
    provider: str = "evm"
    networks: tuple[str, ...]
    signer: SecretRef
    treasuries: tuple[tuple[str, str], ...]
    order_ttl: int = 1800
    credit_after: Finality | None = None
    misfits: MisfitPolicy = field(factory=MisfitPolicy)
    relayer: SecretRef | None = None
    gas_ceiling: int = DEFAULT_GAS_CEILING
    version: int = 1
    archived_at: datetime | None = None

    def treasury(self, network: str) -> str | None:
        """Return the receiving address on a network."""
        return dict(self.treasuries).get(network)


@frozen(kw_only=True)
class PaymentContract:
    """A contract on one network that plans are bound to (row E2). The key is (slug, network).

    Attributes:
        kind: which binding decodes its events: ``checkout`` is the built-in contract, ``erc20`` a token whose plain
            transfers to the treasury are matched by confirmed wallets, ``mandates`` the contract that pulls, ``mapped``
            any other, by configuration alone.
        abi: canonical JSON of the ABI, or None for the built-in one.
        mint_method: the call that starts a membership; ``burn_method`` the one that ends it. Names of the built-in
            contract's functions, or for a mapped one the canonical JSON of a call template.
        renew_method: the template of the call that pays a later period, where it is another than ``mint_method``.
        refund_method: the template of the call by which the treasury gives a payment back; None: by a transfer.
        permit_method: the template of the call that pays with what the payer signs, beside ``mint_method``.
        events: canonical JSON of what a mapped contract's events mean.
        pins: (address, hash of the code there) pairs of everything whose code the binding trusts: the contract, the
            implementation behind a proxy, the tokens. Compared with the chain when contracts are checked.
        webhook_secret: for hints from relays.
        fallback_rpc: nodes to ask for this contract when the network's do not answer.
        start_block: the block of its deployment.
        gas: (asset kind, gas units) pairs measured for the binding: ``native``, ``token``.

    """

    slug: str
    network: str
    chain_id: int
    address: str
    kind: str = "checkout"
    abi: str | None = None
    mint_method: str = "pay"
    burn_method: str | None = "burn"
    renew_method: str | None = None
    permit_method: str | None = None
    refund_method: str | None = None
    events: str | None = None
    pins: tuple[tuple[str, str], ...] = ()
    webhook_secret: SecretRef | None = None
    fallback_rpc: tuple[SecretRef, ...] = field(default=(), repr=False)
    start_block: int = 0
    gas: Pairs = field(default=DEFAULT_GAS, converter=pairs)
    version: int = 1
    archived_at: datetime | None = None


@frozen(kw_only=True)
class Price:
    """What a plan costs per period in one asset on one network; base units."""

    network: str
    asset: Asset
    amount: int


@frozen(kw_only=True)
class SubscriptionPlan:
    """One version of a plan (row E1). The key is (slug, version); a saved version never changes, except to be archived.

    Attributes:
        product: what it gives access to; plans of one product replace each other.
        price_token: symbol of the asset that stands first in displays.
        price_usd_estimate: shown, never computed with.
        limits: quota limits by name.
        features: names that ``engine.access(feature=…)`` asks for.
        trial_days: calendar days in the customer's zone before the first charge.

    """

    slug: str
    version: int = 1
    name: str
    product: Product
    interval: Interval
    prices: tuple[Price, ...]
    gateway_slug: str
    contract_slug: str
    price_token: str | None = None
    price_usd_estimate: FiatEstimate | None = None
    limits: Pairs = field(default=(), converter=pairs)
    features: tuple[str, ...] = ()
    trial_days: int = 0
    dunning: DunningPolicy = NO_DUNNING
    created_at: datetime | None = None
    archived_at: datetime | None = None
