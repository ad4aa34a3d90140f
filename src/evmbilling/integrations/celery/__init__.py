"""A worker's steps as tasks of a Celery application.

::

    app = Celery("shop", broker=…)
    add_billing(app, lambda: BillingEngine.from_settings())
    app.conf.beat_schedule = beat_schedule()
"""

from evmbilling.integrations.http.extras import needs

needs("celery", extra="celery")

from evmbilling.integrations.celery.tasks import add_billing, beat_schedule  # noqa: E402  # after the check

__all__ = ["add_billing", "beat_schedule"]
