"""One payment as OpenTelemetry sees it: from the checkout to the delivery, linked across chain and outbox."""

from __future__ import annotations

import importlib.util
import json
import re
import sys
import timeit

import attrs
import pytest
from opentelemetry import trace
from opentelemetry.sdk.trace import TracerProvider
from opentelemetry.sdk.trace.export import SimpleSpanProcessor
from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
from opentelemetry.sdk.trace.sampling import ALWAYS_OFF
from opentelemetry.trace import SpanKind, StatusCode

import forks
from evmbilling.adapters.lanes import ThreadLanes
from evmbilling.adapters.opentelemetry import ATTRIBUTES, SPANS, OpenTelemetry
from evmbilling.adapters.prometheus import PrometheusTelemetry
from evmbilling.domain.messages.envelope import envelope
from evmbilling.engine.core import Engine
from evmbilling.engine.tracing import Reads
from evmbilling.errors import NotFound, UnknownPlan, WebhookRejected
from evmbilling.factory import SilentTelemetry
from evmbilling.integrations.metrics import make_telemetry, metrics_page
from evmbilling.ports.notifier import SinkProfile
from evmbilling.testing.merchant import simulated_merchant, wallet_of


class Mailbox:
    profile = SinkProfile()

    def __init__(self):
        self.got = []

    def notify(self, event):
        self.got.append(event)


class Traced:
    """A simulated merchant whose engine records spans."""

    def __init__(self, storage=None, sampler=None):
        self.exporter = InMemorySpanExporter()
        provider = TracerProvider(sampler=sampler, shutdown_on_exit=False)
        provider.add_span_processor(SimpleSpanProcessor(self.exporter))
        self.tracer = provider.get_tracer("host")
        self.shop = simulated_merchant(seed=1, storage=storage)
        self.mailbox = Mailbox()
        self.counts = PrometheusTelemetry()
        told = OpenTelemetry(self.counts, provider)
        ports = attrs.evolve(
            self.shop.engine._ports, telemetry=told, notifiers={"box": self.mailbox}, lanes=ThreadLanes()
        )
        self.engine = Engine(ports)

    def spans(self):
        return sorted(self.exporter.get_finished_spans(), key=lambda span: span.start_time)

    def named(self, name):
        return [span for span in self.spans() if span.name == name]

    def checkout(self, user="user-1", **changes):
        wanted = {"plan": "pro", "wallet": wallet_of(user), "idempotency_key": "k"}
        return self.engine.checkout(user_id=user, **(wanted | changes))

    def pay(self, offer):
        """Pay, and do the worker's steps until nothing is left."""
        self.shop.chain.pay(offer.order)
        self.shop.chain.mine(3)
        self.shop.clock.set(self.shop.chain.head.timestamp)
        self.work()

    def work(self):
        self.engine.read_chain("local")
        while self.engine.run_intake().taken:
            pass
        while (done := self.engine.dispatch()).handed_out or done.delivered:
            pass


@pytest.fixture(params=["memory", "sqlite", "postgres"])
def traced(request, open_database):
    return Traced(open_database(request.param, None) if request.param != "memory" else None)


def ident(span):
    return span.context.trace_id, span.context.span_id


def followed(span):
    return {(link.context.trace_id, link.context.span_id) for link in span.links}


def test_a_payment_is_a_tree_from_the_request_and_links_from_there_on(traced):
    with traced.tracer.start_as_current_span("POST /checkout") as request:
        offer = traced.checkout()
    traced.pay(offer)
    (checkout,) = traced.named("billing.checkout")
    assert checkout.parent.span_id == request.get_span_context().span_id
    assert checkout.attributes == {"billing.ledger_id": offer.ledger_id, "billing.network": "local"}
    (intake,) = traced.named("billing.intake")
    assert intake.parent is None
    reads = traced.named("billing.read")
    (read,) = [span for span in reads if followed(intake) & {ident(span)}]
    assert followed(intake) == {ident(checkout), ident(read)}
    assert intake.attributes == {"billing.chain_id": "31337"}
    rounds = traced.named("billing.dispatch")
    deliveries = traced.named("billing.deliver")
    assert {span.attributes["billing.event_type"] for span in deliveries} == {
        event.type for event in traced.mailbox.got
    }
    assert len(deliveries) == len(traced.mailbox.got) >= 4
    for span in deliveries:
        opened = span.attributes["billing.event_type"] == "billing.order.opened.v1"
        assert followed(span) == {ident(checkout if opened else intake)}
        assert span.parent.span_id in {each.context.span_id for each in rounds}
        assert (span.kind, span.attributes["billing.outcome"]) == (SpanKind.PRODUCER, "done")
        assert span.attributes["billing.sink"] == "notifier"
        assert span.status.status_code is StatusCode.UNSET
    assert {span.name for span in traced.spans()} <= {*SPANS, "POST /checkout"}
    assert all(span.parent is None and not span.links for span in rounds)


def test_reading_is_steps_of_a_range_and_what_it_leads_to_links_back(traced):
    offer = traced.checkout()
    traced.pay(offer)
    traced.shop.chain.mine(200)
    traced.engine.read_chain("local")
    reads = traced.named("billing.read")
    assert len(reads) > 1
    taken = set()
    for read in reads:
        steps = [span for span in traced.spans() if span.parent and span.parent.span_id == read.context.span_id]
        taken.add(tuple(span.name for span in steps))
        assert {span.attributes["billing.network"] for span in (read, *steps)} == {"local"}
    # Ranges far below are sorted out before they come.
    assert taken == {("billing.fetch", "billing.decode", "billing.write"), ("billing.fetch", "billing.write")}
    spans = [tuple(int(read.attributes[f"billing.{side}_block"]) for side in ("from", "to")) for read in reads]
    assert [first for first, _ in spans[1:]] == [last + 1 for _, last in spans[:-1]]
    paid = next(event for event in traced.mailbox.got if event.type == "billing.payment.seen.v1")
    (linked,) = [read for read in reads for intake in traced.named("billing.intake") if ident(read) in followed(intake)]
    block = traced.engine.order(offer.ledger_id).order.completion
    assert paid.trace is not None
    assert block is not None
    first, last = (int(linked.attributes[f"billing.{side}_block"]) for side in ("from", "to"))
    assert first <= block.block_number <= last


def test_a_process_remembers_the_newest_reads_only_and_none_that_nobody_records():
    shop = Traced()
    telemetry, reads = shop.engine._ports.telemetry, Reads()
    reads.remember(1, range(10), None)
    reads.link(telemetry, 1, [5])
    with telemetry.span("billing.read"):
        for start in range(1000):
            reads.remember(1, range(start, start + 1), telemetry.context())
    with telemetry.span("billing.intake"):
        reads.link(telemetry, 1, [3])  # forgotten
        reads.link(telemetry, 2, [999])  # another chain
    with telemetry.span("billing.intake"):
        reads.link(telemetry, 1, [998, 999])
    first, second = shop.named("billing.intake")
    (read,) = shop.named("billing.read")
    assert (followed(first), followed(second)) == (set(), {ident(read)})


def test_what_a_worker_begins_by_itself_is_followed_too(traced):
    traced.pay(traced.checkout())
    traced.exporter.clear()
    for months in (31, 31):
        for _ in range(months):
            traced.shop.chain.mine(1, seconds=86_400)
            traced.shop.clock.set(traced.shop.chain.head.timestamp)
        traced.engine.read_chain("local")
        traced.engine.run_renewals()
    traced.work()
    renewals = traced.named("billing.renewals")
    assert renewals
    due = [span for span in traced.named("billing.deliver") if "payment.due" in span.attributes["billing.event_type"]]
    assert due
    assert all(followed(span) <= {ident(each) for each in renewals} and span.links for span in due)


def test_what_is_idle_records_nothing(traced):
    traced.pay(traced.checkout())
    traced.exporter.clear()
    for _ in range(3):
        traced.work()
    assert traced.spans() == []  # a worker looks every second


def test_a_receiver_can_go_on_from_the_envelope_and_the_event_is_the_same(traced):
    offer = traced.checkout()
    traced.pay(offer)
    for event in traced.mailbox.got:
        body = envelope(event, b"12345678").body
        assert re.fullmatch("00-[0-9a-f]{32}-[0-9a-f]{16}-0[13]", body["traceparent"])
        assert "traceparent" not in body["data"]
        assert attrs.evolve(event, trace=None) == event
        assert "traceparent" not in envelope(attrs.evolve(event, trace=None), b"12345678").body
    assert traced.engine.verify(full=True).ok


def test_what_nobody_samples_leaves_no_trace(open_database):
    quiet = Traced(open_database("sqlite", None), sampler=ALWAYS_OFF)
    quiet.pay(quiet.checkout())
    assert quiet.spans() == []
    assert quiet.mailbox.got
    assert {event.trace for event in quiet.mailbox.got} == {None}


def test_nothing_of_a_person_and_no_secret_is_recorded(traced):
    offer = traced.checkout("user-of-the-shop")
    traced.pay(offer)
    with pytest.raises(UnknownPlan):
        traced.checkout("user-of-the-shop", plan="gone", idempotency_key="another")
    with pytest.raises((WebhookRejected, NotFound)):
        traced.engine.handle_webhook("checkout", b"{}", {})
    told = json.dumps([json.loads(span.to_json()) for span in traced.spans()])
    order = offer.order
    for private in ("user-of-the-shop", order.wallet, order.treasury, order.reference.hex(), order.signature.hex()):
        assert private.lower().removeprefix("0x") not in told.lower()
    assert "Traceback" not in told
    keys = {key for span in traced.spans() for key in span.attributes}
    assert keys <= {f"billing.{name}" for name in ATTRIBUTES}
    failed = [span.status.description for span in traced.spans() if span.status.status_code is StatusCode.ERROR]
    assert failed == ["unknown_plan"]


def test_only_known_attributes_and_short_words_are_recorded():
    shop = Traced()
    telemetry = shop.engine._ports.telemetry
    with telemetry.span("billing.webhook", network="local", wallet="0xabc", user_id="u", outcome="a b\n"):
        telemetry.annotate(ledger_id="x" * 65, sink="webhook", email="a@b.c")
        telemetry.link("nothing")
        telemetry.link("00-" + "0" * 32 + "-" + "0" * 16 + "-01")
    (span,) = shop.spans()
    assert span.attributes == {"billing.network": "local", "billing.sink": "webhook"}
    assert span.links == ()
    with pytest.raises(ZeroDivisionError), telemetry.span("billing.webhook", parent="nothing", links=["nothing"]):
        1 / 0  # noqa: B018  - it raises
    assert shop.spans()[-1].status.description == "ZeroDivisionError"
    assert shop.spans()[-1].events == ()


def test_counts_are_counted_beside(monkeypatch):
    shop = Traced()
    shop.pay(shop.checkout())
    assert 'evmbilling_deliveries_total{outcome="done"' in metrics_page(shop.engine).body.decode()
    assert isinstance(make_telemetry(), OpenTelemetry)
    real = importlib.util.find_spec

    def absent(name, package=None):
        return None if name == "opentelemetry" else real(name, package)

    monkeypatch.delitem(sys.modules, "evmbilling.adapters.opentelemetry")
    monkeypatch.setattr(importlib.util, "find_spec", absent)
    assert isinstance(make_telemetry(), PrometheusTelemetry)


def test_an_engine_without_it_imports_nothing_of_it_and_makes_no_object(tmp_path):
    program = tmp_path / "names.py"
    program.write_text(
        "import sys\nimport evmbilling.factory, evmbilling.engine.core\n"
        "print(*[name for name in sys.modules if name.startswith(('opentelemetry', 'evmbilling.engine.core'))])"
    )
    done = forks.program(program)
    assert (done.stdout.split(), done.stderr) == (["evmbilling.engine.core"], "")
    silent = SilentTelemetry()
    assert silent.span("billing.intake", chain_id="1") is silent.span("billing.deliver")
    assert (silent.context(), silent.link("x"), silent.annotate(a="b")) == (None, None, None)


def test_the_cost_of_recording_nothing_is_printed(capsys):
    silent, idle = SilentTelemetry(), OpenTelemetry(tracer_provider=trace.NoOpTracerProvider())

    def once(telemetry):
        with telemetry.span("billing.intake", chain_id="1"):
            telemetry.context()

    costs = {
        type(telemetry).__name__: min(timeit.repeat(lambda t=telemetry: once(t), number=2000, repeat=5)) / 2000 * 1e9
        for telemetry in (silent, idle)
    }
    with capsys.disabled():
        print("\n" + ", ".join(f"{name}: {cost:.0f} ns a span" for name, cost in costs.items()))  # noqa: T201  - a figure
    assert all(cost > 0 for cost in costs.values())


def test_the_page_lists_every_span_and_attribute(project):
    page = (project / "docs/how-to/trace-with-opentelemetry.md").read_text()
    assert dict(re.findall(r"^\| `(billing\.\w+)` \| (.+) \|$", page, re.MULTILINE)) == SPANS
    assert dict(re.findall(r"^\| `billing\.(\w+)` as attribute \| (.+) \|$", page, re.MULTILINE)) == ATTRIBUTES
