"""Billing in a Flask application.

::

    billing = FlaskBilling(engine, identity=who)
    billing.init_app(app)

    @app.get("/reports")
    @billing.requires_plan("api")
    def reports(): ...
"""

from evmbilling.integrations.http.extras import needs

needs("flask", extra="flask")

from evmbilling.integrations.flask.mounting import FlaskBilling, Identity, create_blueprint  # noqa: E402  # after the check

__all__ = ["FlaskBilling", "Identity", "create_blueprint"]
