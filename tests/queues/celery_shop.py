"""A host's Celery application whose broker is a SQLite file."""

import os

from celery import Celery

from evmbilling.factory import BillingEngine
from evmbilling.integrations.celery import add_billing, beat_schedule

STEPS = ("readers", "intake", "expiry", "renewals", "dispatcher", "release")
FOLDER = os.environ["CELERY_SHOP_FOLDER"]


def make_engine() -> BillingEngine:
    print(f"engine made by {os.getpid()}", flush=True)  # noqa: T201  - the test reads it
    return BillingEngine.from_settings()


app = Celery("celery_shop", broker=f"sqla+sqlite:///{FOLDER}/broker.db")
app.conf.update(
    broker_transport_options={"connect_args": {"timeout": 30}},
    beat_schedule=beat_schedule(STEPS),
    worker_hijack_root_logger=False,
    broker_connection_retry_on_startup=True,
)
add_billing(app, make_engine, only=STEPS)
