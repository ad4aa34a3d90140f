"""The settings themselves: every ``BILLING_…`` variable and what it means."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from pydantic import Field, Secret, SecretStr, ValidationError, model_validator
from pydantic_settings import BaseSettings, SettingsConfigDict

from evmbilling.domain.secrets import SecretRef
from evmbilling.errors import ConfigurationError
from evmbilling.settings.catalogue import PREFIX, read_dunning, read_gateways, read_networks
from evmbilling.settings.values import (
    Fields,
    Json,
    MetricsToken,
    Options,
    Origin,
    Places,
    SecretKeys,
    Seller,
    Users,
    WebhookSecret,
    Words,
    file_text,
)

_NETWORKS = (
    '{"mainnet": {"chain_id": 1, "rpc": ["env:RPC_URL_1"], "credit_after": "depth 12", '
    '"irreversible_after": "finalized"}}'
)
_GATEWAYS = (
    '{"main": {"networks": ["mainnet"], "signer": "env:ORDER_SIGNING_KEY", '
    '"treasuries": {"mainnet": "0xYOUR_TREASURY"}, "order_ttl": 1800}}'
)
_DUNNING = (
    '{"grace_days": 3, "steps": [{"name": "gone", "after_days": 60, "actions": ["cancel"]}, '
    '{"name": "suspended", "after_days": 14, "actions": ["notify", "suspend"]}]}'
)


class BillingSettings(BaseSettings):
    """What a host configures; keyword arguments go before the environment.

    Raises:
        ConfigurationError: a wrong value, an unknown keyword argument, or a secret given both ways.

    """

    model_config = SettingsConfigDict(
        env_prefix=PREFIX,
        env_ignore_empty=True,
        extra="ignore",
        frozen=True,
        hide_input_in_errors=True,
        populate_by_name=True,
    )

    database_url: SecretStr | None = Field(
        default=None,
        description="Where billing keeps its tables: SQLite or PostgreSQL.",
        examples=["sqlite:///billing.sqlite3", "postgresql://billing:password@localhost/shop"],
    )
    table_prefix: str = Field(
        default="evmbilling_",
        pattern=r"^[a-z][a-z0-9_]{0,19}$",
        description="Stands before the name of every table. Two engines with other prefixes do not see each other.",
        examples=["evmbilling_"],
    )
    db_schema: str | None = Field(
        default=None,
        validation_alias=f"{PREFIX}SCHEMA",
        pattern=r"^[a-z_][a-z0-9_]{0,62}$",
        description="A PostgreSQL schema, or an attached database of SQLite. Absent: the connection's own.",
        examples=["billing"],
    )
    secret_key: SecretKeys | None = Field(
        default=None,
        description="Encrypts secrets that are stored: base64 of 32 random bytes; several, the newest first and\n"
        "separated by spaces, while a key is exchanged. Make one:\n"
        'python -c "import base64, os; print(base64.b64encode(os.urandom(32)).decode())"',
        examples=[""],
    )
    seal_key: SecretKeys | None = Field(
        default=None,
        description="Seals append-only rows, so that changes by hand are found: base64 of 32 random bytes, made like\n"
        "BILLING_SECRET_KEY; several, the newest first and separated by spaces, once it was exchanged. Whoever can\n"
        "write to the database must not have it. Absent: nothing is sealed.",
        examples=[""],
    )
    rpc_config: Json = Field(
        default=Secret({}),
        description="The networks, by name: chain_id; rpc (a list of env:NAME or file:/path, or plain urls when "
        "BILLING_SECRET_KEY is set); testnet; native_symbol; credit_after and irreversible_after "
        '("depth 12", "safe", "finalized", "finalized 64"); fallback_networks and max_lag (seconds that the last block '
        "read may be old before new checkouts go to the first fallback that the plan prices); start_block; "
        "rpc_retries; rpc_timeout (seconds); gas_price_cap (wei); disputed_access; explorer_url; agreement_above (base "
        "units by symbol) and quorum (how many nodes have to show a payment above it); allowed_contracts and "
        "allowed_tokens (the only addresses that may be bound and sold in there). They are added when they are "
        "not there yet.",
        examples=[_NETWORKS],
    )
    evm_gateways: Json = Field(
        default=Secret({}),
        description="The payment gateways, by slug: networks; signer (env:NAME, file:/path or plugin:name:key of the "
        "order-signing key, which cannot move money); treasuries (network to address); order_ttl (seconds); "
        "credit_after; provider; misfits (tolerance_bps, late, duplicate, on_refund, late_watch in seconds, dust_below "
        "and approval_above by symbol in base units); relayer (where the key of our own transactions is; workers "
        "only); gas_ceiling (wei that one of them may cost). They are added when they are not there yet.",
        examples=[_GATEWAYS],
    )
    dunning: Fields = Field(
        default=Secret({}),
        description="What happens with debt under plans that say nothing about it: grace_days; arrears (forgive, "
        "accumulate, cap) and arrears_cap; steps, the worst first (name, after_days, at_least, periods, attempts, "
        "actions of notify, block, suspend, cancel, again_after_days); reminders and attempts (days, or days and "
        "by_reason); charges_per_day.",
        examples=[_DUNNING],
    )
    webhook_secret: WebhookSecret | None = Field(
        default=None,
        description="Signs the webhooks that relays send to us: whsec_ and base64 of 24 to 64 random bytes; several, "
        "the newest first and separated by spaces, while a secret is exchanged.",
        examples=[""],
    )
    finance_ops_user_ids: Users = Field(
        default=(),
        description="Users with the role finance_ops, separated by commas: they read all and decide queue items.",
        examples=["alice,bob"],
    )
    admin_user_ids: Users = Field(
        default=(),
        description="Users with the role billing_admin, separated by commas: they configure billing.",
        examples=["alice"],
    )
    metrics_token: MetricsToken | None = Field(
        default=None,
        description="Whoever sends it (Authorization: Bearer) may read the metrics that a host serves at /v1/metrics; "
        "without it only finance and administrators may. Make one:\n"
        'python -c "import secrets; print(secrets.token_urlsafe(32))"',
        examples=[""],
    )
    receipt_series: str = Field(
        default="R",
        pattern=r"^[A-Za-z][A-Za-z0-9._-]{0,31}$",
        description="Names the series of numbers on receipts: one for each seller. Numbers of a series have no gaps.",
        examples=["R"],
    )
    receipt_seller: Seller = Field(
        default="",
        description="Who sells, as it stands on receipts: name, address, tax number.",
        examples=["Example Ltd, 1 Main Street, London"],
    )
    open_orders: int | None = Field(
        default=50,
        ge=1,
        le=10_000,
        description="Unpaid orders that a customer may have at a time; one more is refused until one is paid or has "
        "run out.",
        examples=["50"],
    )
    public_url: Origin | None = Field(
        default=None,
        description="Where people reach the host: pay links and wallet challenges are made from it.",
        examples=["https://shop.example"],
    )
    storage: str = Field(default="sqlalchemy", description="The registered storage.", examples=["sqlalchemy"])
    notifiers: Words = Field(default=(), description="The registered notifiers that are told.", examples=["log"])
    webhook_exceptions: Places = Field(
        default=(),
        description="Exact host:port that outgoing webhooks may reach though they are private or plain http, separated "
        "by commas. Heeded only while every network is a test network.",
        examples=["127.0.0.1:8000"],
    )
    quota: str | None = Field(default=None, description="The registered quota backend.", examples=["redis"])
    plugins: Words = Field(
        default=(),
        description="Plugins of installed distributions to load, by the name of their entry point.",
        examples=["pigeon"],
    )
    plugins_autoload: bool = Field(
        default=False, description="Load every installed plugin, named or not.", examples=["false"]
    )
    plugin_options: Options = Field(
        default=Secret({}),
        description="Options of what is registered, by role.name.",
        examples=['{"notifier.log": {"level": "INFO"}}'],
    )
    database_url_file: Path | None = Field(default=None, description="A file that holds BILLING_DATABASE_URL.")
    secret_key_file: Path | None = Field(default=None, description="A file that holds BILLING_SECRET_KEY.")
    seal_key_file: Path | None = Field(default=None, description="A file that holds BILLING_SEAL_KEY.")
    rpc_config_file: Path | None = Field(default=None, description="A file that holds BILLING_RPC_CONFIG.")
    evm_gateways_file: Path | None = Field(default=None, description="A file that holds BILLING_EVM_GATEWAYS.")
    webhook_secret_file: Path | None = Field(default=None, description="A file that holds BILLING_WEBHOOK_SECRET.")
    metrics_token_file: Path | None = Field(default=None, description="A file that holds BILLING_METRICS_TOKEN.")

    def __init__(self, **values: Any) -> None:
        strange = sorted(name for name in values if not name.startswith("_") and variable_of(name) is None)
        found: tuple[str, str | None] | None = None
        if strange:
            found = f"there is no such setting: {', '.join(strange)}", strange[0]
        else:
            try:
                super().__init__(**values)
            except ValidationError as error:
                found = _in_words(error)
            except ConfigurationError as error:
                found = error.message, error.field
        del values  # a traceback that shows local variables must not show secrets, nor lead to who held them
        if found is not None:
            raise ConfigurationError(found[0], field=found[1])

    @model_validator(mode="before")
    @classmethod
    def _read_files(cls, values: Any) -> Any:
        """Put the content of each ``…_file`` where the value itself would be."""
        merged = dict(values)
        for name in cls.model_fields:
            path = merged.get(f"{name}_file")
            if path is None:
                continue
            if merged.get(name) is not None:
                raise ConfigurationError(
                    f"{variable_of(name)} is set too; which one holds?", field=f"{variable_of(name)}_FILE"
                )
            merged[name] = file_text(Path(path), f"{variable_of(name)}_FILE")
        return merged

    @model_validator(mode="after")
    def _check_catalogue(self) -> BillingSettings:
        """Read networks and gateways once, so that errors come early."""
        read_networks(self.rpc_config.get_secret_value(), lambda value: SecretRef("enc", value))
        read_gateways(self.evm_gateways.get_secret_value())
        read_dunning(self.dunning.get_secret_value())
        return self


def variable_of(name: str) -> str | None:
    """Return the environment variable of a setting; None when there is no such setting."""
    field = BillingSettings.model_fields.get(name)
    return None if field is None else str(field.validation_alias or f"{PREFIX}{name.upper()}")


def _in_words(error: ValidationError) -> tuple[str, str | None]:
    """Return one line about everything that pydantic found, and the variable of the first; no value is repeated."""
    told = []
    for item in error.errors(include_url=False, include_context=False, include_input=False):
        name, *path = (str(part) for part in item["loc"])
        where = "".join(f"{part}: " for part in path)
        told.append(
            (name if name.startswith(PREFIX) else variable_of(name), where + item["msg"].removeprefix("Value error, "))
        )
    first = told[0]
    return first[1] + "".join(f"; {name}: {text}" for name, text in told[1:]), first[0]
