"""Every error that evmbilling raises, in one tree.

::

    BillingError                     code, field, retry_safe, details
    ├── InputError                   the caller gave something that cannot be used; names the field
    │   ├── InvalidAddress           not ``0x`` + 40 hex digits, or a failed EIP-55 checksum
    │   ├── InvalidAmount            not an exact, non-negative amount of base units below 2**256
    │   ├── UnknownPlan              no such plan (``field="plan"``)
    │   ├── UnknownNetwork           no such network (``field="network"``)
    │   ├── UnknownAsset             the plan has no price in that asset on that network
    │   ├── ArchivedPlan             the plan is no longer sold
    │   ├── NotAllowed               the network has a list, and this address is not on it
    │   └── NotFound                 any other object that is not there
    ├── NetworkUnavailable           a network or a contract halts, or a network lags (retry is safe)
    ├── ChallengeRefused             a wallet's proof was not accepted
    ├── PermissionDenied             the actor's roles do not allow it
    ├── WebhookRejected              a webhook was not accepted; ``reason`` says why
    ├── Conflict                     the request disagrees with what is stored
    │   ├── IdempotencyConflict      the same key was used with other parameters
    │   ├── RequestInProgress        another call with this key has not finished (retry is safe)
    │   ├── TooManyOpenOrders        this customer has as many unpaid orders as there may be (retry is safe)
    │   ├── VersionConflict          the row changed since it was read
    │   ├── ChangeNeeded             a live subscription exists on another plan
    │   ├── TooManyOpenOrders        a customer has as many unpaid orders as there may be (retry is safe)
    │   ├── AlreadyExists            the natural key is taken
    │   └── IllegalTransition        a state machine does not allow the move
    ├── StorageError                 the database failed
    │   ├── RetryTransaction         run your whole transaction again (retry is safe)
    │   ├── HostTransactionError     the host's connection cannot be joined
    │   ├── AppendOnlyViolation      an append-only row was about to be changed
    │   ├── LeaseLost                a fence is newer than ours; nothing was written
    │   └── SchemaError              the tables are absent, older or newer than this package
    ├── ProviderError                a payment provider failed
    │   ├── RpcUnavailable           no node answered (retry is safe)
    │   ├── RpcRefused               a node answered with an error
    │   ├── WrongChain               the node serves another chain id
    │   └── ChainMismatch            two answers of a node contradict each other
    ├── PluginError                  a plugin is unknown, duplicated or does not conform
    └── ConfigurationError           settings are absent or wrong
        ├── SealKeyRefused           the chain of seals has gone on with another key
        ├── MissingExtra             an optional dependency is not installed
        └── MissingTool              an external program is not there and cannot be fetched

An error's default message is the first line of its class docstring.
"""

from __future__ import annotations

from typing import Any, ClassVar

_WEBHOOK_STATUS = {
    "unknown_source": 404,
    "too_large": 413,
    "bad_headers": 400,
    "bad_signature": 401,
    "bad_timestamp": 401,
    "bad_body": 400,
    "conflict": 409,
}


class BillingError(Exception):
    """Something in billing went wrong.

    Attributes:
        code: a stable, machine-readable word; never changes within a major version.
        field: the parameter or setting at fault, when there is one.
        retry_safe: whether the same call may be made again without a second effect.
        details: more machine-readable facts; never a secret.

    """

    code: ClassVar[str] = "billing_error"
    retry_safe: ClassVar[bool] = False

    def __init__(self, message: str | None = None, *, field: str | None = None, **details: Any) -> None:
        text = message or (type(self).__doc__ or "").strip().split("\n")[0]
        super().__init__(text)
        self.field = field
        self.details = details

    @property
    def message(self) -> str:
        """The human-readable sentence."""
        return str(self.args[0])

    def __str__(self) -> str:
        return f"{self.field}: {self.message}" if self.field else self.message


class InputError(BillingError):
    """The request holds a value that cannot be used."""

    code = "invalid_input"


class InvalidAddress(InputError):
    """An address must be 0x and 40 hex digits; mixed case must pass the EIP-55 checksum."""

    code = "invalid_address"


class InvalidAmount(InputError):
    """An amount must be a whole number of base units from 0 to 2**256 - 1."""

    code = "invalid_amount"


class UnknownPlan(InputError):
    """There is no such plan."""

    code = "unknown_plan"


class UnknownNetwork(InputError):
    """There is no such network."""

    code = "unknown_network"


class UnknownAsset(InputError):
    """The plan has no price in that asset on that network."""

    code = "unknown_asset"


class ArchivedPlan(InputError):
    """The plan is archived and no longer sold."""

    code = "archived_plan"


class NotAllowed(InputError):
    """The network has a list of what may be used there, and this address is not on it."""

    code = "not_allowed"


class NotFound(InputError):
    """There is no such object."""

    code = "not_found"


class NetworkUnavailable(BillingError):
    """Nothing new is sold on this network at the moment.

    ``details`` say ``network``, ``reason`` (``halted``, ``lagging``, ``contract_halted``, ``contract_unchecked``
    where no node has shown yet which code a mapped contract has, or ``token_unchecked`` where none has told yet which
    decimals a token has) and ``instead``: the names of networks on which the same thing can be bought now.
    """

    code = "network_unavailable"
    retry_safe = True


class ChallengeRefused(BillingError):
    """The proof of this wallet was not accepted."""

    code = "challenge_refused"


class PermissionDenied(BillingError):
    """The actor's roles do not allow this."""

    code = "permission_denied"


class WebhookRejected(BillingError):
    """The webhook was not accepted.

    The one error of the intake: whatever is sent to it, the answer is a receipt or this.

    Attributes:
        reason: a stable word: ``unknown_source``, ``too_large``, ``bad_headers``, ``bad_signature``, ``bad_timestamp``,
            ``bad_body`` or ``conflict``.
        status: the HTTP status that fits; one of ``statuses``.

    """

    code = "webhook_rejected"
    statuses: ClassVar[tuple[int, ...]] = tuple(sorted(set(_WEBHOOK_STATUS.values())))

    def __init__(self, reason: str, message: str) -> None:
        super().__init__(message, field="webhook", reason=reason)
        self.reason = reason
        self.status = _WEBHOOK_STATUS[reason]


class Conflict(BillingError):
    """The request disagrees with what is stored."""

    code = "conflict"


class IdempotencyConflict(Conflict):
    """This idempotency key was used before with other parameters."""

    code = "idempotency_conflict"


class RequestInProgress(Conflict):
    """Another call with this idempotency key has not finished yet."""

    code = "request_in_progress"
    retry_safe = True


class VersionConflict(Conflict):
    """The object changed since it was read; read it again."""

    code = "version_conflict"


class ChangeNeeded(Conflict):
    """The user has a live subscription to another plan of this product; change it instead."""

    code = "change_needed"


class TooManyOpenOrders(Conflict):
    """This customer has as many unpaid orders as there may be; pay one, or wait until one has run out.

    ``details`` say the ``limit``, and when the first of them runs out: ``next_at``.
    """

    code = "too_many_open_orders"
    retry_safe = True


class AlreadyExists(Conflict):
    """An object with this key already exists."""

    code = "already_exists"


class IllegalTransition(Conflict):
    """The state machine does not allow this move."""

    code = "illegal_transition"


class StorageError(BillingError):
    """The database failed."""

    code = "storage_error"


class RetryTransaction(StorageError):
    """The database could not serialise this transaction; run your whole transaction again."""

    code = "retry_transaction"
    retry_safe = True


class HostTransactionError(StorageError):
    """This connection cannot be joined."""

    code = "host_transaction"


class AppendOnlyViolation(StorageError):
    """Rows of this table are never changed or removed."""

    code = "append_only"


class LeaseLost(StorageError):
    """Another worker holds the lease now; nothing was written."""

    code = "lease_lost"
    retry_safe = True


class SchemaError(StorageError):
    """The database schema does not match this version; run `evmbilling db upgrade`."""

    code = "schema"


class ProviderError(BillingError):
    """A payment provider failed."""

    code = "provider_error"


class RpcUnavailable(ProviderError):
    """No node of the network answered."""

    code = "rpc_unknown"
    retry_safe = True


class RpcRefused(ProviderError):
    """The node answered with an error.

    Attributes:
        refusal: what the provider's adapter sorted the error as, for itself; None where nobody did.

    """

    code = "rpc_refused"

    def __init__(self, message: str | None = None, *, refusal: object = None, **details: Any) -> None:
        super().__init__(message, **details)
        self.refusal = refusal


class WrongChain(ProviderError):
    """The node serves another chain id than the network is configured for."""

    code = "wrong_chain"


class ChainMismatch(ProviderError):
    """Two answers of the node contradict each other."""

    code = "chain_mismatch"
    retry_safe = True


class PluginError(BillingError):
    """A plugin is unknown, duplicated or does not conform."""

    code = "plugin"


class ConfigurationError(BillingError):
    """The configuration is absent or wrong."""

    code = "configuration"


class SealKeyRefused(ConfigurationError):
    """The chain of seals has gone on with another key than this process has."""

    code = "seal_key"


class MissingExtra(ConfigurationError):
    """An optional dependency is not installed."""

    code = "missing_extra"


class MissingTool(ConfigurationError):
    """An external program is not there and could not be fetched."""

    code = "missing_tool"
