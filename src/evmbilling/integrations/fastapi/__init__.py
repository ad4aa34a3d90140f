"""Billing in a FastAPI application.

::

    billing = FastApiBilling(engine, identity=who)
    app = FastAPI(lifespan=billing.lifespan)
    app.include_router(billing.router)

    @app.get("/reports", dependencies=[billing.requires_plan("api")])
    async def reports(): ...
"""

from evmbilling.integrations.http.extras import needs

needs("fastapi", extra="fastapi")

from evmbilling.integrations.fastapi.mounting import FastApiBilling, Identity, create_router  # noqa: E402  # after the check

__all__ = ["FastApiBilling", "Identity", "create_router"]
