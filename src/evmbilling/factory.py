"""The composition root: builds an engine from objects, or from settings and plugins."""

from __future__ import annotations

import logging
from collections.abc import Mapping, Sequence
from contextlib import ExitStack
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from evmbilling.adapters.lanes import ThreadLanes
from evmbilling.adapters.notifiers.webhook import HttpWebhookSender
from evmbilling.adapters.secretbox import SecretBox
from evmbilling.adapters.system import SystemClock, SystemIds
from evmbilling.domain.actors import SYSTEM
from evmbilling.domain.books.receipt_documents import BuyerText, Papers, make_papers
from evmbilling.domain.catalogue.catalogue import Network
from evmbilling.domain.selling.offering import ExtraLines
from evmbilling.domain.subscriptions.dunning import NO_DUNNING, DunningPolicy
from evmbilling.domain.subscriptions.trials import TrialRule
from evmbilling.engine.admin.dunning_input import dunning_policy
from evmbilling.engine.admin.readers import whole
from evmbilling.engine.admin.seeding import seed_catalogue
from evmbilling.engine.context import CLOCK_TOLERANCE, MOST_OPEN_ORDERS, Ports, Screen
from evmbilling.engine.core import Engine
from evmbilling.engine.subscriptions.covers import StoredMandates
from evmbilling.errors import ConfigurationError
from evmbilling.plugins import PluginManager
from evmbilling.ports.chain import ChainSource
from evmbilling.ports.charges import Mandates
from evmbilling.ports.clock import Clock, Ids
from evmbilling.ports.lanes import Lanes
from evmbilling.ports.notifier import Contacts, Notifier
from evmbilling.ports.outgoing import WebhookSender
from evmbilling.ports.provider import Provider
from evmbilling.ports.quota import QuotaBackend
from evmbilling.ports.secrets import Secrets
from evmbilling.ports.storage import Storage
from evmbilling.ports.telemetry import NoTracing, Telemetry
from evmbilling.wiring import (
    LocaleOf,
    lent_to_providers,
    make_plugin_manager,
    registered_providers,
    selected_notifiers,
    selected_quotas,
    storage_options,
)

if TYPE_CHECKING:
    from collections.abc import Callable

    from evmbilling.adapters.notifiers.email_texts import Texts
    from evmbilling.settings import BillingSettings


class SilentTelemetry(NoTracing):
    """Counts nothing (port :class:`evmbilling.ports.telemetry.Telemetry`)."""

    def count(self, name: str, value: int = 1, **labels: str) -> None:
        """Ignore a count."""


# A host that asked for no logs is not written to on its standard error.
logging.getLogger("evmbilling").addHandler(logging.NullHandler())


class BillingEngine(Engine):
    """Billing for one host: give it ready objects, or let :meth:`from_settings` build them.

    Engines are independent: each has its own storage, plugins, keys and connections; several live in one process.

    Args:
        storage: a ready storage.
        providers: by the name that gateways select; the built-in ``evm`` provider when left out.
        clock, ids: for simulation; the real ones when left out.
        secrets: resolves references in rows; references to environment and files work without a key.
        telemetry: who is told counts and spans; nobody when left out.
        extra_lines: adds tax and discount lines to orders.
        allow_trial: says whether a plan's trial is given: ``(plan, user_id, wallet) -> bool``.
        screen: asked about every payer before money counts: ``(address, transaction hash) -> "ok" | "hold"``.
        seal_key: 32 bytes that seal append-only rows; without it sealing is off.
        former_seal_keys: what sealed before ``seal_key`` did, the newest first; links of theirs are proved with them.
        mandates: knows which subscriptions can be charged; the mandates that users gave to this engine when left out.
        dunning: what happens with debt under plans that say nothing about it: the policy, or a mapping of its fields.
        clock_tolerance: how far the clock may be from the database's before nothing falls due any more; None where
            ``clock`` is simulated and the database's is not.
        relay_keys: secrets of webhooks from relays that serve every contract, the newest first.
        notifiers, quotas: who is told of events, by name.
        webhooks: sends to the endpoints of the database; over HTTPS when left out.
        webhook_exceptions: exact ``host:port`` that webhooks may reach though private; on test networks only.
        lanes: keeps the time limits of deliveries; a thread for each lane when left out.
        plugins: signer plugins that gateways' keys refer to (``plugin:name:key``).
        sources: makes the chain source of a network, in place of one over its urls (tests, simulations).
        papers: what stands on numbered receipts: the seller, and the host's callable about buyers.
        open_orders: unpaid orders that one customer may have at a time; any number when left out.

    """

    def __init__(
        self,
        *,
        storage: Storage,
        providers: Mapping[str, Provider] | None = None,
        clock: Clock | None = None,
        ids: Ids | None = None,
        secrets: Secrets | None = None,
        telemetry: Telemetry | None = None,
        extra_lines: ExtraLines | None = None,
        allow_trial: TrialRule | None = None,
        screen: Screen | None = None,
        seal_key: bytes | None = None,
        former_seal_keys: Sequence[bytes] = (),
        mandates: Mandates | None = None,
        dunning: DunningPolicy | Mapping[str, Any] | None = None,
        clock_tolerance: timedelta | None = CLOCK_TOLERANCE,
        relay_keys: Sequence[bytes] = (),
        notifiers: Mapping[str, Notifier] | None = None,
        quotas: Mapping[str, QuotaBackend] | None = None,
        webhooks: WebhookSender | None = None,
        webhook_exceptions: Sequence[str] = (),
        lanes: Lanes | None = None,
        plugins: PluginManager | None = None,
        sources: Callable[[Network], ChainSource] | None = None,
        papers: Papers | None = None,
        open_orders: int | None = None,
    ) -> None:
        self.plugins = plugins or make_plugin_manager()
        box = secrets or SecretBox()
        told = telemetry or SilentTelemetry()
        told_time = clock or SystemClock()
        if providers is None:
            lent = lent_to_providers(self.plugins, storage, box, told)
            providers = {"evm": self.plugins.providers.build("evm", None, sources=sources, **lent)}
        super().__init__(
            Ports(
                storage=storage,
                providers=dict(providers),
                clock=told_time,
                ids=ids or SystemIds(),
                secrets=box,
                telemetry=told,
                extra_lines=extra_lines,
                allow_trial=allow_trial,
                screen=screen,
                seal_key=seal_key,
                former_seal_keys=tuple(former_seal_keys),
                mandates=StoredMandates(told_time) if mandates is None else mandates,
                dunning=NO_DUNNING if dunning is None else dunning_policy(dunning),
                clock_tolerance=clock_tolerance,
                relay_keys=tuple(relay_keys),
                notifiers=dict(notifiers or {}),
                quotas=dict(quotas or {}),
                webhooks=webhooks or HttpWebhookSender(),
                webhook_exceptions=tuple(webhook_exceptions),
                lanes=lanes or ThreadLanes(),
                papers=_checked_papers(papers),
                open_orders=None if open_orders is None else whole("open_orders", 1, MOST_OPEN_ORDERS)(open_orders),
            )
        )

    @classmethod
    def from_settings(
        cls,
        settings: BillingSettings | None = None,
        *,
        clock: Clock | None = None,
        extra_lines: ExtraLines | None = None,
        allow_trial: TrialRule | None = None,
        screen: Screen | None = None,
        telemetry: Telemetry | None = None,
        contacts: Contacts | None = None,
        email_texts: Texts | None = None,
        buyer: BuyerText | None = None,
        plugins: Sequence[object] = (),
        clock_tolerance: timedelta | None = CLOCK_TOLERANCE,
    ) -> BillingEngine:
        """Build an engine from ``BILLING_…`` settings (the environment when left out).

        Networks and gateways of the settings are added when they are absent; stored rows are never overwritten.

        Args:
            contacts: where users are reached; the ``email`` notifier needs it.
            email_texts: the host's own texts in place of ours.
            buyer: gives the lines about a buyer on receipts: ``(user_id) -> text``.
            plugins: plugin objects to register beside those that the settings name.
            clock_tolerance: as the constructor says.

        Raises:
            ConfigurationError: a setting is absent or wrong.
            PluginError: a plugin is unknown or does not conform.
            SchemaError: the tables are not there; run ``evmbilling db upgrade``.

        """
        from evmbilling.settings import (
            BillingSettings,
            gateways_from,
            networks_from,
            relay_keys_of,
            said_of,
            seal_keys_of,
            tell_of_strange_variables,
        )

        read = settings or BillingSettings()
        with said_of("BILLING_PLUGINS"):
            manager = make_plugin_manager(plugins, names=read.plugins, autoload=read.plugins_autoload)
        the_clock = clock or SystemClock()
        box = SecretBox(read.secret_key)
        storage = _storage_of(manager, read, the_clock)
        with ExitStack() as undo:
            undo.callback(storage.close)  # when the rest cannot be built, nobody has it
            storage.instance_id()  # the first thing that the migrations made: absent tables are said now, not later
            ports: dict[str, object] = {
                "storage": storage,
                "clock": the_clock,
                "secrets": box,
                "locale_of": LocaleOf(storage),
                "email_texts": email_texts,
            }
            if contacts is not None:
                ports["contacts"] = contacts
            engine = cls(
                storage=storage,
                providers=registered_providers(manager, read, storage, box, telemetry or SilentTelemetry()),
                clock=the_clock,
                secrets=box,
                telemetry=telemetry,
                extra_lines=extra_lines,
                allow_trial=allow_trial,
                screen=screen,
                # No local variable holds a key: a traceback that shows them must not show it.
                seal_key=next(iter(seal_keys_of(read)), None),
                former_seal_keys=seal_keys_of(read)[1:],
                dunning=read.dunning.get_secret_value() or None,
                clock_tolerance=clock_tolerance,
                relay_keys=relay_keys_of(read),
                notifiers=selected_notifiers(manager, read, ports),
                quotas=selected_quotas(manager, read, ports),
                webhook_exceptions=read.webhook_exceptions,
                plugins=manager,
                papers=make_papers(series=read.receipt_series, seller=read.receipt_seller, buyer=buyer),
                open_orders=read.open_orders,
            )
            with said_of("BILLING_EVM_GATEWAYS"):
                seed_catalogue(engine.admin(SYSTEM), networks_from(read, box.seal), gateways_from(read))
            tell_of_strange_variables(read, storage)
            undo.pop_all()
        return engine


def _storage_of(manager: PluginManager, read: BillingSettings, clock: Clock) -> Storage:
    """Build the storage of the settings; a url that is refused is said by a frame that never held it.

    Raises:
        ConfigurationError, PluginError: as :meth:`BillingEngine.from_settings`.

    """
    from evmbilling.settings import said_of

    try:
        with said_of("BILLING_STORAGE"):
            built: Storage = manager.storages.build(read.storage, storage_options(read), clock=clock)
            return built
    except ConfigurationError as error:
        if type(error) is not ConfigurationError or error.field != "BILLING_DATABASE_URL":
            raise
        message, field, details = error.message, error.field, error.details
    raise ConfigurationError(message, field=field, **details)


def _checked_papers(papers: Papers | None) -> Papers:
    if papers is None:
        return Papers()
    return make_papers(series=papers.series, seller=papers.seller, buyer=papers.buyer)
