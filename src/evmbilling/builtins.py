"""What evmbilling registers itself, through the hooks that any plugin has. Heavy modules load when one is built."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Literal

from pydantic import BaseModel, ConfigDict, SecretStr

from evmbilling.domain.catalogue.catalogue import Network
from evmbilling.domain.secrets import SecretRef, parse_secret_ref
from evmbilling.errors import ConfigurationError, SchemaError
from evmbilling.plugins import NoOptions, Registry, hookimpl
from evmbilling.ports.chain import ChainSource
from evmbilling.ports.clock import Clock
from evmbilling.ports.notifier import Contacts, Notifier
from evmbilling.ports.provider import Provider
from evmbilling.ports.secrets import Secrets
from evmbilling.ports.signer import Signer
from evmbilling.ports.storage import Storage
from evmbilling.ports.telemetry import Telemetry

if TYPE_CHECKING:
    from evmbilling.adapters.evm.provider import EvmProvider
    from evmbilling.adapters.memory import MemoryStorage
    from evmbilling.adapters.notifiers.email import EmailNotifier
    from evmbilling.adapters.notifiers.email_texts import Texts
    from evmbilling.adapters.notifiers.log import LogNotifier
    from evmbilling.adapters.notifiers.smtp import SmtpTransport
    from evmbilling.adapters.signers.keyfile import KeyfileSigner
    from evmbilling.adapters.signers.local import LocalSigner
    from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage


Kind = Literal[
    "paid",
    "due",
    "overdue",
    "suspended",
    "ended",
    "charge_failed",
    "failed",
    "reversed",
    "refunded",
    "halted",
    "clock",
    "membership_ended",
    "burned",
    "burn_reversed",
    "conflict",
]


class _Options(BaseModel):
    model_config = ConfigDict(extra="forbid", frozen=True, hide_input_in_errors=True)


class SqlAlchemyOptions(_Options):
    """Where the tables are."""

    url: SecretStr
    prefix: str = "evmbilling_"
    db_schema: str | None = None


class LocalKey(_Options):
    """An order-signing key: ``0x`` and 64 hex digits."""

    key: SecretStr


class Keyfile(_Options):
    """An encrypted key file (Web3 Secret Storage), and the reference of its password: ``/path|env:NAME``."""

    key: str


class LogOptions(_Options):
    """Which logger of Python's logging the events go to, and at which level."""

    logger: str = "evmbilling.events"
    level: Literal["DEBUG", "INFO", "WARNING"] = "INFO"


class EmailOptions(_Options):
    """A mail server, the sender, and what is told; ``password`` is a reference, ``env:NAME`` or ``file:/path``."""

    host: str
    port: int = 587
    security: Literal["starttls", "tls", "none"] = "starttls"
    username: str | None = None
    password: str | None = None
    sender: str
    kinds: tuple[Kind, ...] | None = None


class OpsEmailOptions(EmailOptions):
    """The same, for the people who run billing."""

    recipients: tuple[str, ...]
    locale: str = "en"


@hookimpl
def evmbilling_register_storages(registry: Registry[Storage]) -> None:
    """Register the storages."""
    registry.add("memory", _memory, implements="evmbilling.adapters.memory:MemoryStorage")
    registry.add(
        "sqlalchemy",
        _sqlalchemy,
        implements="evmbilling.adapters.sqlalchemy.storage:SqlAlchemyStorage",
        options=SqlAlchemyOptions,
    )


@hookimpl
def evmbilling_register_providers(registry: Registry[Provider]) -> None:
    """Register the provider."""
    registry.add("evm", _evm, implements="evmbilling.adapters.evm.provider:EvmProvider")


@hookimpl
def evmbilling_register_signers(registry: Registry[Signer]) -> None:
    """Register the signers."""
    registry.add("local", _local, implements="evmbilling.adapters.signers.local:LocalSigner", options=LocalKey)
    registry.add("keyfile", _keyfile, implements="evmbilling.adapters.signers.keyfile:KeyfileSigner", options=Keyfile)


@hookimpl
def evmbilling_register_notifiers(registry: Registry[Notifier]) -> None:
    """Register the notifiers. Webhooks are no notifier: their endpoints are rows, managed by administrators."""
    email = "evmbilling.adapters.notifiers.email:EmailNotifier"
    registry.add("log", _log, implements="evmbilling.adapters.notifiers.log:LogNotifier", options=LogOptions)
    registry.add("email", _email, implements=email, options=EmailOptions)
    registry.add("email_ops", _email_ops, implements=email, options=OpsEmailOptions)


def _memory(options: NoOptions, clock: Clock) -> MemoryStorage:
    from evmbilling.adapters.memory import MemoryStorage

    del options
    return MemoryStorage(clock)


def _sqlalchemy(options: SqlAlchemyOptions) -> SqlAlchemyStorage:
    from evmbilling.adapters.sqlalchemy.storage import SqlAlchemyStorage

    _refuse_absent_file(options.url.get_secret_value())
    return SqlAlchemyStorage.open(options.url.get_secret_value(), prefix=options.prefix, schema=options.db_schema)


def _refuse_absent_file(url: str) -> None:
    """SQLite makes an empty database of any name that is opened: a slip in the name must not look like a new shop."""
    from sqlalchemy.engine import make_url
    from sqlalchemy.exc import ArgumentError

    try:
        parsed = make_url(url)
    except (ArgumentError, ValueError):
        return  # the adapter refuses it in our words
    name = parsed.database or ""
    is_file = parsed.get_backend_name() == "sqlite" and name not in ("", ":memory:") and not name.startswith("file:")
    if is_file and not Path(name).exists():
        raise SchemaError(f"there is no file {name}; run `evmbilling db upgrade`")


def _evm(
    options: NoOptions,
    *,
    signer_for: Callable[[SecretRef], Signer],
    reveal: Callable[[SecretRef], str],
    sources: Callable[[Network], ChainSource] | None = None,
    reserve: Callable[[Network], Sequence[SecretRef]] | None = None,
    telemetry: Telemetry | None = None,
) -> EvmProvider:
    from evmbilling.adapters.evm.provider import EvmProvider

    del options
    return EvmProvider(signer_for=signer_for, reveal=reveal, sources=sources, reserve=reserve, telemetry=telemetry)


def _local(options: LocalKey) -> LocalSigner:
    from evmbilling.adapters.signers.local import LocalSigner

    return LocalSigner(options.key.get_secret_value())


def _keyfile(options: Keyfile, secrets: Secrets) -> KeyfileSigner:
    from evmbilling.adapters.signers.keyfile import KeyfileSigner

    path, bar, password = options.key.partition("|")
    if not bar:
        raise ConfigurationError("a keyfile is written plugin:keyfile:/path|env:PASSWORD", field="signer")
    return KeyfileSigner(path, secrets.reveal(parse_secret_ref(password, field="signer")))


def _log(options: LogOptions) -> LogNotifier:
    import logging

    from evmbilling.adapters.notifiers.log import LogNotifier

    return LogNotifier(logger=options.logger, level=getattr(logging, options.level))


def _email(
    options: EmailOptions,
    *,
    secrets: Secrets,
    contacts: Contacts,
    locale_of: Callable[[str], str],
    email_texts: Texts | None = None,
    pay_link_of: Callable[[str], str | None] = lambda _: None,
) -> EmailNotifier:
    from evmbilling.adapters.notifiers.email import EmailNotifier

    return EmailNotifier(
        transport=_smtp(options, secrets),
        sender=_mail_address(options.sender, "sender"),
        contacts=contacts,
        locale_of=locale_of,
        texts=email_texts,
        kinds=options.kinds,
        pay_link_of=pay_link_of,
    )


def _email_ops(options: OpsEmailOptions, secrets: Secrets, email_texts: Texts | None = None) -> EmailNotifier:
    from evmbilling.adapters.notifiers.email import EmailNotifier

    return EmailNotifier(
        transport=_smtp(options, secrets),
        sender=_mail_address(options.sender, "sender"),
        audience="ops",
        recipients=[_mail_address(address, "recipients") for address in options.recipients],
        ops_locale=options.locale,
        texts=email_texts,
        kinds=options.kinds,
    )


def _smtp(options: EmailOptions, secrets: Secrets) -> SmtpTransport:
    from evmbilling.adapters.notifiers.smtp import SmtpTransport

    reference = None if options.password is None else parse_secret_ref(options.password, field="password")
    return SmtpTransport(
        host=options.host,
        port=options.port,
        security=options.security,
        username=options.username,
        password=None if reference is None else secrets.reveal(reference),
    )


def _mail_address(address: str, field: str) -> str:
    from evmbilling.adapters.notifiers.email import parse_recipient
    from evmbilling.ports.notifier import PermanentFailure

    try:
        return parse_recipient(address)
    except PermanentFailure:
        raise ConfigurationError("an e-mail address is written local@domain", field=field) from None
