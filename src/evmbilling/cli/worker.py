"""``evmbilling worker``: does what has to be done again and again, until it is told to stop."""

from __future__ import annotations

import json
import signal
import sys
import threading
from collections.abc import Iterator
from contextlib import ExitStack, closing, contextmanager
from functools import partial
from types import FrameType
from typing import TYPE_CHECKING, Annotated, Final

import typer

from evmbilling.cli.logs import logging_to_stderr
from evmbilling.cli.output import FAILED, counted, reporting, say, say_json
from evmbilling.errors import ConfigurationError, InputError

if TYPE_CHECKING:
    from evmbilling.factory import BillingEngine
    from evmbilling.working import JobHealth, Workers
    from evmbilling.working.health import Page

_HIGHEST_PORT: Final = 65535


def worker(
    only: Annotated[
        str | None, typer.Option("--only", metavar="STEPS", help="These steps, separated by commas; else all.")
    ] = None,
    health_port: Annotated[
        int | None,
        typer.Option(
            "--health-port", metavar="PORT", help="Serve /health and /metrics on 127.0.0.1; 0: any free port."
        ),
    ] = None,
    once: Annotated[bool, typer.Option("--once", help="Do each step until nothing is left, and end.")] = False,
    as_json: Annotated[
        bool, typer.Option("--json", help="Log in JSON, one object a line; answer in JSON on standard output.")
    ] = False,
) -> None:
    """Do what has to be done again and again: read chains, take payments in, renew, send, tell, seal.

    Run as many as you like, on any number of machines: they share the work through the database. SIGTERM and SIGINT
    let each step finish its batch; a second signal ends at once, and loses nothing either. Ends with 0 when it was
    told to stop, and with 1 when a step failed under `--once`.
    """
    with reporting(as_json=as_json):
        from evmbilling.factory import BillingEngine
        from evmbilling.integrations.metrics import make_telemetry
        from evmbilling.working import Workers, chosen

        if health_port is not None and not 0 <= health_port <= _HIGHEST_PORT:
            raise InputError(f"a port from 0 to {_HIGHEST_PORT} is expected", field="health_port")
        with (
            logging_to_stderr(as_json=as_json),
            closing(BillingEngine.from_settings(telemetry=make_telemetry())) as engine,
        ):
            names = None if only is None else [name.strip() for name in only.split(",") if name.strip()]
            workers = Workers(
                engine,
                chosen(engine, names),
                now=engine.watch.now,
                networks=lambda: [known.network for known in engine.networks_health()],
            )
            if once:
                _once(workers, as_json=as_json)
            else:
                _until_told(engine, workers, health_port, as_json=as_json)


def _once(workers: Workers, *, as_json: bool) -> None:
    done = workers.once()
    if as_json:
        say_json(done.as_document())
    else:
        say("\n".join(_line(job) for job in done.jobs.values()))
    if any(job.failures for job in done.jobs.values()):
        raise typer.Exit(FAILED)


def _line(job: JobHealth) -> str:
    if job.condition == "off":
        return f"{job.name}: off ({job.error})"
    return f"{job.name}: " + (f"failed ({job.error})" if job.failures else f"done in {counted(job.calls, 'call')}")


def _until_told(engine: BillingEngine, workers: Workers, port: int | None, *, as_json: bool) -> None:
    from evmbilling.integrations.metrics import metrics_page
    from evmbilling.working import HealthServer, settle_collector

    with ExitStack() as stack:
        stack.enter_context(_signals(workers))
        if port is not None:
            pages = {"/health": partial(_health, workers), "/metrics": partial(metrics_page, engine)}
            try:
                server = stack.enter_context(HealthServer(port, pages))
            except OSError as error:
                raise ConfigurationError(f"cannot listen: {error.strerror}", field="health_port") from None
            port = server.port
        if as_json:
            say(json.dumps({"steps": list(workers.names), "health_port": port}))  # a line, as all that follow it
        else:
            where = "" if port is None else f"; http://127.0.0.1:{port}/health says how it is"
            say(f"working: {', '.join(workers.names)}{where}")
        sys.stdout.flush()
        settle_collector()
        try:
            workers.run(engine.watch.beat)
        finally:
            engine.watch.rest(workers.names)


def _health(workers: Workers) -> Page:
    from evmbilling.working.health import document

    health = workers.health()
    return document(200 if health.ok else 503, health.as_document())


@contextmanager
def _signals(workers: Workers) -> Iterator[None]:
    """Stop the workers at the first signal, and let the second one end the process."""

    def told(number: int, frame: FrameType | None) -> None:
        del frame
        for each in before:
            signal.signal(each, signal.SIG_DFL)
        del number
        # Not here: the thread that a signal interrupts may hold the lock that stopping needs.
        threading.Thread(target=workers.stop, name="evmbilling-stop", daemon=True).start()

    before = {each: signal.getsignal(each) for each in (signal.SIGTERM, signal.SIGINT)}
    for each in before:
        signal.signal(each, told)
    try:
        yield
    finally:
        for each, handler in before.items():
            signal.signal(each, handler)
