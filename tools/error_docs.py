# ruff: noqa: INP001  - a folder of scripts, not a package
"""Write ``docs/reference/errors.md`` from the classes of errors, so that the two cannot drift apart.

::

    python tools/error_docs.py             write it
    python tools/error_docs.py --check     exit 1 when it is not what would be written
"""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

from docstrings import entries, plain
from written import cell, keep

from evmbilling import errors
from evmbilling.errors import BillingError
from evmbilling.integrations.http import guards, problems
from evmbilling.integrations.http.problems import status_of

HEAD = """\
# Errors

Written by `tools/error_docs.py` from `evmbilling.errors`.

Everything that billing raises is a `BillingError`. It has

* `code`: a stable word, the same in every face: Python, HTTP problems, `--json` of the commands;
* `message`: a sentence for people, which may change;
* `field`: the parameter or setting at fault, when there is one;
* `retry_safe`: whether the same call may be made again without a second effect;
* `details`: more facts for programs; never a secret.

Catch by class. Bad values of any kind, a wrong Python type too, are an `InputError` that names its field, and nothing
was written.

```text
"""
DO = {
    "BillingError": "Nothing raises this class itself: catch it to catch everything of billing.",
    "InputError": "Change the value that `field` names.",
    "InvalidAddress": "Take the address from the wallet again; do not mend its capitals.",
    "InvalidAmount": "Give an `int` of base units: 19.99 of a token with 6 decimals is `19_990_000`.",
    "UnknownPlan": "Offer plans of `engine.plans()` only.",
    "UnknownNetwork": "Use the name of a network that an administrator created.",
    "UnknownAsset": "Choose a price of the plan, or add one to it.",
    "ArchivedPlan": "Offer another plan. Subscribers of this one keep it.",
    "NotAllowed": "Let an administrator put the address on the network's list, or use one that is on it.",
    "NotFound": "Check the id. What belongs to another user is not found either.",
    "NetworkUnavailable": "Sell on a network of `details['instead']`; `evmbilling doctor` says what is wrong here.",
    "ChallengeRefused": "Ask for a new message and let the wallet sign that one.",
    "PermissionDenied": "Give the actor the role, or let somebody who has it do this.",
    "WebhookRejected": "Answer with `status`. `reason` says what to look at: the secret, the clock or the body.",
    "Conflict": "Read the present state, then decide again.",
    "IdempotencyConflict": "Use a new key for a new purchase, and the old key with the old parameters only.",
    "RequestInProgress": "Ask again in a few seconds, with the same key.",
    "TooManyOpenOrders": "Pay one of the open orders, or wait until `details['next_at']`.",
    "VersionConflict": "Read the object again and repeat the change on what is there now.",
    "ChangeNeeded": "Call `change_subscription`, or end the subscription first.",
    "AlreadyExists": "Use another slug or name, or update the one that is there.",
    "IllegalTransition": "Read the object again: it is in a state from which this does not lead.",
    "StorageError": "Look at the database; the driver's own error is the cause (`__cause__`).",
    "RetryTransaction": "Run your whole transaction again, from its beginning.",
    "HostTransactionError": "Give a connection that is in a transaction of yours, on the database of this engine.",
    "AppendOnlyViolation": "Nothing: corrections are new rows. If no program of yours did it, find out who did.",
    "LeaseLost": "Nothing: the worker that has the lease goes on with the work.",
    "SchemaError": "Run `evmbilling db upgrade`, or install the version that the tables are for.",
    "ProviderError": "Look at the network's nodes: `evmbilling doctor`.",
    "RpcUnavailable": "Try again; add a second node to the network.",
    "RpcRefused": "Read the node's words in the message: a method that it does not serve, or a limit.",
    "WrongChain": "Correct the network's `chain_id` or its urls.",
    "ChainMismatch": "Nothing, once: what contradicts itself is not used. If it goes on, replace the node.",
    "PluginError": "Read the list in the message: it names the plugin, the operation and what is wrong with it.",
    "ConfigurationError": "Set what `field` names; `.env.example` shows how.",
    "SealKeyRefused": "Set the key whose id `details['key_id']` is first, or behind the one that follows it.",
    "MissingExtra": "Run the `pip install` line of the message.",
    "MissingTool": "Install the program that the message names, or name its path in the variable that it gives.",
    "HttpError": "Correct the request; `detail` says what cannot be read.",
    "Unauthenticated": "Sign in. The host's `identity` returned nobody.",
    "CrossSite": "Send it from a page of your own site, or with a token in place of cookies.",
    "NoSuchRoute": "Compare the path with [HTTP](http.md).",
    "MethodNotAllowed": "Use a method of the `Allow` header.",
    "BodyTooLarge": "Send less.",
    "BrokenBody": "Send it again, to its end.",
    "AmbiguousLength": "Say the length in one way; a proxy before the application may say it in two.",
    "MetricsUnavailable": "Do what `detail` says: install the extra, or bring the database back.",
    "InternalError": "Look for the `correlation_id` in the log.",
    "UnsupportedMedia": "Send `Content-Type: application/json`.",
    "InvalidBody": "Correct what `field` names: a place in the body, with dots.",
    "PlanNeeded": "Offer the plan; the route is for those who have it.",
    "QuotaExceeded": "Wait for the next period, or offer a larger plan.",
}
"""What whoever gets an error does about it, by class."""


def classes_of(*modules: object) -> list[type[BillingError]]:
    """The errors that modules define, as they stand in the source."""
    return [
        value
        for module in modules
        for value in vars(module).values()
        if inspect.isclass(value) and issubclass(value, BillingError) and value.__module__ == module.__name__  # type: ignore[attr-defined]  # a module
    ]


def render() -> str:
    """The whole page."""
    tree = re.search(r"::\n\n(.*?)\n\n(?=\S)", errors.__doc__ or "", re.DOTALL)
    if tree is None:
        raise ValueError("the docstring of the errors has no tree")
    return "\n".join(
        [
            HEAD + inspect.cleandoc(tree[1]),
            "```",
            "",
            *_section("Everywhere", classes_of(errors)),
            *_section("Over HTTP only", classes_of(problems, guards)),
        ]
    )


def _section(title: str, kinds: list[type[BillingError]]) -> Iterator[str]:
    yield f"## {title}\n"
    for kind in kinds:
        meaning, _, more = inspect.cleandoc(kind.__doc__ or "").partition("\n\n")
        yield f"### `{kind.__name__}`\n"
        yield f"`{kind.code}`, {_status(kind)}{', retry is safe' if kind.retry_safe else ''}. {cell(meaning)}\n"
        yield from _more(more)
        yield f"*What to do.* {DO[kind.__name__]}\n"


def _more(text: str) -> Iterator[str]:
    """What else the docstring says, with its attributes as a list."""
    prose, _, attributes = text.partition("Attributes:\n")
    if prose.strip():
        yield plain(" ".join(prose.split())) + "\n"
    if attributes.strip():
        for names, meaning in entries(attributes):
            yield f"* {', '.join(f'`{name}`' for name in names)}: {plain(meaning)}"
        yield ""


def _status(kind: type[BillingError]) -> str:
    many: tuple[int, ...] = getattr(kind, "statuses", ())
    return "HTTP " + (", ".join(str(status) for status in many) or str(int(status_of(kind()))))


if __name__ == "__main__":
    keep("errors.md", render(), tool="error_docs.py")
