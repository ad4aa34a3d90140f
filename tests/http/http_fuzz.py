"""Requests made from the OpenAPI document, sent to both hosts as they are and with names that exist."""

from __future__ import annotations

import os
from typing import Any

from hypothesis import strategies as st
from schemathesis import Case, openapi
from schemathesis.config import SchemathesisConfig
from schemathesis.generation import GenerationMode

from evmbilling.testing.merchant import wallet_of

LONG = os.environ.get("EVMBILLING_FUZZ") is not None
"""Whether ``nox -s fuzz`` asks: many examples, by a seed that it prints."""
EXAMPLES = int(os.environ.get("EVMBILLING_FUZZ") or 3)
WHO = {"X-User": "user-a", "X-Roles": "billing_admin,finance_ops", "X-Correlation-Id": "corr-0001"}
CONFIG = {
    "checks": {
        # What a value means is not in a schema: an address with a wrong checksum, a name of nothing.
        "positive_data_acceptance": {"expected-statuses": ["2xx", "404", "409", "422", "429"]},
        # No chain answers: what has to ask one says so.
        "not_a_server_error": {"expected-statuses": ["2xx", "4xx", "502", "503"]},
    }
}


def schema_of(document: dict[str, Any]) -> Any:
    """Return the document as the generator reads it."""
    return openapi.from_dict(document, config=SchemathesisConfig.from_dict(CONFIG))


def known_values(names: dict[str, str]) -> dict[str, list[Any]]:
    """Return values that mean something, by the name of a parameter or field."""
    wallet = wallet_of("user-a")
    return {
        "ledger_id": [names["paid"], names["pending"]],
        "subscription_id": [names["subscription"]],
        "refund_id": [names["refund"]],
        "item_id": [names["suspense"], names["duplicate"]],
        "endpoint_id": [names["endpoint"]],
        "event_id": [names["event"]],
        "sink": [names["sink"]],
        "token": [names["token"], "native", wallet],
        "number": ["R-000001"],
        "report": ["mrr", "revenue", "debt", "networks"],
        "user_id": ["user-a"],
        "user": ["user-a"],
        "name": ["local"],
        "network": ["local"],
        "slug": ["pro", "pack", "main", "checkout"],
        "plan": ["pro", "pack"],
        "wallet": [wallet],
        "treasury": [wallet],
        "beneficiary": [wallet],
        "address": [wallet],
        "zone": ["Europe/Berlin", "UTC"],
        "by": ["day", "week", "month"],
        "version": [1, 2],
        "limit": [1, 100],
        "start_at": ["2026-03-01T00:00:00Z"],
        "since": ["2026-01-01T00:00:00Z"],
        "until": ["2026-02-01T00:00:00Z"],
        "as_of": ["2026-01-31T13:00:00+01:00"],
        "paid_until": ["2026-02-20T12:00:00Z"],
        "credit_after": ["depth 2", "safe"],
        "amount": ["1", "19990000"],
    }


@st.composite
def cases(draw: Any, operation: Any, known: dict[str, list[Any]]) -> Case:
    """Make a request that fits the document, half of its names of things that are there; or one that does not fit."""
    if draw(st.booleans()):
        return draw(operation.as_strategy(generation_mode=GenerationMode.NEGATIVE))
    case = draw(operation.as_strategy(generation_mode=GenerationMode.POSITIVE))
    for given in (case.path_parameters, case.query, case.body):
        if isinstance(given, dict):
            for name in sorted(set(given) & set(known)):
                if draw(st.booleans()):
                    given[name] = draw(st.sampled_from(known[name]))
    return case
