"""The bodies of administration. Which fields a row needs, and what values mean, is checked by the engine."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import Field

from evmbilling.integrations.http.bodies import Address, Body, Instant, Text, Units

Version = Annotated[int, Field(ge=1, description="Of the row that was read; another one is a conflict.")]
Secret = Annotated[
    str,
    Field(
        min_length=1,
        max_length=8192,
        description="A value, or where it is: `env:NAME`, `file:/path`, `plugin:name:key`. Never read back.",
    ),
]
Finality = Annotated[str, Field(max_length=32, examples=["depth 12", "safe", "finalized 64"])]
Note = Annotated[str, Field(max_length=500)]
Call = Annotated[
    dict[str, Any],
    Field(
        description="A call template: `method` and `args` with placeholders.",
        examples=[{"method": "join", "args": ["{reference}", "{amount}"]}],
    ),
]


class NetworkFields(Body):
    """What can be said of a network."""

    rpc_urls: list[Secret] | None = None
    testnet: bool | None = None
    native_symbol: Text | None = None
    credit_after: Finality | None = None
    irreversible_after: Finality | None = None
    fallback_networks: list[Text] | None = None
    max_lag: int | None = None
    start_block: int | None = None
    rpc_retries: int | None = None
    rpc_timeout: int | None = None
    gas_price_cap: Units | None = None
    disputed_access: bool | None = None
    explorer_url: Annotated[str, Field(max_length=2048)] | None = None
    agreement_above: dict[str, Units] | None = None
    quorum: int | None = None
    allowed_contracts: list[Address] | None = None
    allowed_tokens: list[Address] | None = None


class NetworkBody(NetworkFields):
    """A new network."""

    name: Text
    chain_id: int


class NetworkChange(NetworkFields):
    """Fields of a network that change."""

    version: Version


class GatewayFields(Body):
    """What can be said of a gateway."""

    provider: Text | None = None
    networks: list[Text] | None = None
    signer: Secret | None = None
    treasuries: dict[str, Address] | None = None
    order_ttl: int | None = None
    credit_after: Finality | None = None
    misfits: dict[str, Any] | None = None
    relayer: Secret | None = None
    gas_ceiling: Units | None = None


class GatewayBody(GatewayFields):
    """A new gateway."""

    slug: Text


class GatewayChange(GatewayFields):
    """Fields of a gateway that change."""

    version: Version


class ContractFields(Body):
    """What can be said of a bound contract."""

    abi: list[dict[str, Any]] | None = None
    mint_method: Text | Call | None = None
    burn_method: Text | Call | None = None
    renew_method: Call | None = None
    permit_method: Call | None = None
    refund_method: Call | None = None
    events: list[dict[str, Any]] | None = None
    webhook_secret: Secret | None = None
    fallback_rpc: list[Secret] | None = None
    start_block: int | None = None
    gas: dict[str, int] | None = None


class ContractBody(ContractFields):
    """A new binding."""

    slug: Text
    network: Text
    address: Address
    kind: Text | None = None


class ContractChange(ContractFields):
    """Fields of a binding that change."""

    version: Version


class PriceBody(Body):
    """What a plan costs in one asset: base units, or as people write it."""

    network: Text
    chain_id: int
    token: Address
    decimals: int
    symbol: Text
    amount: Units | None = None
    display: Annotated[str, Field(max_length=160, examples=["19.99"])] | None = None


class EstimateBody(Body):
    """What a plan's price was worth in fiat on a day: shown, never computed with."""

    amount: Annotated[str, Field(pattern=r"^[0-9]{1,12}(\.[0-9]{1,8})?$", examples=["19.99"])]
    currency: Annotated[str, Field(pattern=r"^[A-Z]{3}$", description="ISO 4217.", examples=["USD"])] = "USD"
    as_of: Annotated[str, Field(pattern=r"^[0-9]{4}-[0-9]{2}-[0-9]{2}$", examples=["2030-01-31"])]


class PlanFields(Body):
    """What can be said of a plan."""

    name: Text | None = None
    product: Text | None = None
    interval: Literal["none", "day", "week", "month", "year"] | None = None
    interval_count: Annotated[int, Field(ge=1)] | None = None
    prices: list[PriceBody] | None = None
    gateway_slug: Text | None = None
    contract_slug: Text | None = None
    price_token: Text | None = None
    price_usd_estimate: EstimateBody | None = None
    limits: dict[str, int] | None = None
    features: list[Text] | None = None
    trial_days: int | None = None
    dunning: dict[str, Any] | None = None


class PlanBody(PlanFields):
    """A new plan."""

    slug: Text


class PlanChange(PlanFields):
    """What is different in a plan's next version; running subscriptions keep theirs."""

    version: Version


class VersionBody(Body):
    """Which version of the row is meant."""

    version: Version


class SimulateBody(Body):
    """An order to try: who would pay what; nothing is sent."""

    wallet: Address
    token: Annotated[str, Field(max_length=42, description="The token's address, or `native`.", examples=["native"])]
    amount: Units
    treasury: Address | None = None
    beneficiary: Address | None = None
    quantity: Annotated[int, Field(ge=1)] = 1
    renewal: bool = False
    signed: bool = False


class SweepBody(Body):
    """What is swept from a deposit address: the order's own asset when nothing is said."""

    token: Annotated[
        str | None, Field(max_length=42, description="A token's address; `0xEeee…` is the coin.", examples=[None])
    ] = None


class AdoptBody(Body):
    """A subscriber who has paid elsewhere."""

    external_id: Text
    user_id: Text
    plan: Text
    wallet: Address
    paid_until: Instant
    plan_version: Annotated[int, Field(ge=1)] | None = None
    network: Text | None = None
    asset: Text | None = None
    product: Annotated[Text, Field(description='`"type"` or `"type/id"`.', examples=["api"])] | None = None
    quantity: Annotated[int, Field(ge=1)] = 1
    beneficiary: Address | None = None
    zone: Text | None = None
    anchor: Instant | None = None
    dry_run: bool = False


class NoteBody(Body):
    """Why, for the record."""

    note: Note = ""


class AssignBody(NoteBody):
    """Which order the money is for."""

    ledger_id: Text


class CreditBody(NoteBody):
    """Whose credit the money is."""

    user_id: Text


class ReasonBody(Body):
    """Why, for the books; one line."""

    reason: Annotated[str, Field(min_length=1, max_length=500)]


class TransactionBody(Body):
    """A transaction, by its hash."""

    tx_hash: Annotated[str, Field(min_length=1, max_length=80)]
    """``0x`` and 64 hex digits."""


class RefundBody(ReasonBody):
    """What is to be given back: of an order, of money that no order took, or of a user's credit."""

    ledger_id: Text | None = None
    receipt_id: Text | None = None
    user_id: Text | None = None
    network: Text | None = None
    asset: Text | None = None
    treasury: Address | None = None
    amount: Units | None = None
    via: Literal["contract", "transfer"] | None = None
    end_membership: bool | None = None


class ApproveBody(Body):
    """Whether the membership ends with the refund; the gateway's policy decides when left out."""

    end_membership: bool | None = None


class EndpointFields(Body):
    """What can be said of a webhook endpoint."""

    events: list[Text] | None = None
    ordered: bool | None = None


class EndpointBody(EndpointFields):
    """A new endpoint; the secret is made when left out, and shown once."""

    url: Annotated[str, Field(min_length=1, max_length=2048, examples=["https://shop.example/hooks/billing"])]
    secret: Secret | None = None


class EndpointChange(EndpointFields):
    """What changes of an endpoint."""

    url: Annotated[str, Field(min_length=1, max_length=2048)] | None = None


class RotateBody(Body):
    """The receiver's own secret; a fresh one when left out."""

    secret: Secret | None = None


class RedeliverBody(Body):
    """To which sink an event is delivered once more."""

    sink: Text


class ResumeBody(Body):
    """The hash of the block that is now at the contested height, from a source that you believe."""

    accept: Annotated[str, Field(pattern=r"^0x[0-9a-fA-F]{64}$")]


class CustomerChange(Body):
    """What changes of a customer."""

    zone: Text | None = None
    locale: Text | None = None
