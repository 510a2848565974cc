"""Takes, returns and renews permits by one statement of PostgreSQL, where that needs no judgment.

The statement is a transaction of its own: the fleet's row is locked inside the server only, for the time of the
statement and its commit, and not over round trips. It applies the operations of all threads that wait, as a whole and
in their order, or it changes nothing. Then, and for every operation that `encode_batch` leaves out, `SqlAdmission` runs
the same operations through `SharedBudget` under the lock.

| left out by                | what                                                                                   |
|----------------------------|----------------------------------------------------------------------------------------|
| `encode_batch`             | any outcome but success, usage of 75 % or more, a cost that is not positive            |
| the statement              | a scope or source without a row, a park, a waiting class, a full scope, too few tokens |
|                            | for all permits, a call far slower than usual, a breaker that is not closed, the       |
|                            | breaker of an account, an expired grant, an old fencing token                          |

The statement decides on the database's own clock. `adwarm.store.migrations.permit_functions` has its text.
"""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from math import isfinite
from random import Random
from typing import Any

from sqlalchemy import Connection, Engine, text

from adwarm.backpressure.admission import CallOutcome, CallOutcomeKind, Grant, ReturnedBlock
from adwarm.backpressure.breakers import breaker_names
from adwarm.backpressure.budget_rows import breaker_row_name
from adwarm.backpressure.quota_usage import SLOW_PERCENT
from adwarm.backpressure.scope_state import LATENCY_WEIGHT, ScopeRules
from adwarm.backpressure.shared_budget import narrowest_first
from adwarm.model import Priority, Scope, ScopeKind
from adwarm.settings import BackpressureSettings
from adwarm.store.database import database_time, write_statement

_STATEMENT = text("SELECT adwarm_take_permits_1(:rules, :batch, :at)")
_MAX_SKIPPED = 64
_PASSING = {"a scope has no row yet", "a grant has expired", "a grant is not held any more"}
"""Refusals that say nothing about the next batch: the full rules add the row, or remove the grant."""
_SUCCEEDED = {CallOutcomeKind.OK, CallOutcomeKind.SKIPPED}


@dataclass(frozen=True, slots=True)
class PermitRequest:
    """A call or a block that is requested; a block when `block_permits` is set.

    Attributes:
        scopes: narrowest first, the fleet last.
        cost: tokens of one call.
        block_permits: the most calls of the block; None for a single call.
    """

    scopes: tuple[Scope, ...]
    priority: Priority
    cost: float
    source: str
    block_permits: int | None = None

    @classmethod
    def create(
        cls, scopes: Sequence[Scope], priority: Priority, cost: float, source: str, block_permits: int | None = None
    ) -> "PermitRequest":
        """Return the request of a call on `scopes` in any order."""
        return cls(tuple(narrowest_first(scopes)), priority, cost, source, block_permits)

    @property
    def permits(self) -> int:
        """The permits to take."""
        return 1 if self.block_permits is None else max(1, self.block_permits)


@dataclass(frozen=True, slots=True)
class PermitOperation:
    """What one caller submits: blocks are returned first, then a grant is renewed or a request is made."""

    returned: Sequence[ReturnedBlock] = ()
    request: PermitRequest | None = None
    renewed: Grant | None = None


@dataclass(slots=True)
class EncodedBatch:
    """A batch as the statement reads it; see `adwarm_take_permits_1`."""

    events: dict[Scope, list[list[Any]]] = field(default_factory=dict)
    breakers: dict[str, int] = field(default_factory=dict)
    absent: set[str] = field(default_factory=set)
    returns: list[tuple[str, int]] = field(default_factory=list)
    renewals: list[tuple[str, int]] = field(default_factory=list)
    takes: list[tuple[Any, ...]] = field(default_factory=list)

    def to_json(self, owner: str) -> str:
        """Return the statement's parameter."""
        return json.dumps(
            {
                "scopes": {str(scope): {"kind": scope.kind, "events": list_} for scope, list_ in self.events.items()},
                "breakers": self.breakers,
                "absent": sorted(self.absent),
                "returns": self.returns,
                "renewals": self.renewals,
                "takes": self.takes,
                "owner": owner[:120],
            },
            allow_nan=False,
        )

    def add_return(self, grant: Grant, outcomes: Sequence[CallOutcome], unused: int) -> bool:
        """Add a returned block; False when its outcomes need the full rules."""
        if not all(map(_is_plain, outcomes)):
            return False
        successes = [outcome.latency_seconds for outcome in outcomes if outcome.kind is CallOutcomeKind.OK]
        latencies = _summarize_latencies(successes)
        usage = _last_percents(outcomes)
        refund = grant.cost * max(0, unused)
        for scope in grant.scopes:
            percents = usage.pop(scope, (None, None))
            event = [1, int(grant.priority), refund, grant.granted_at, *percents, len(successes), *latencies]
            self.events.setdefault(scope, []).append(event)
        for scope, percents in usage.items():
            self.events.setdefault(scope, []).append([2, None, 0, 0, *percents])
        self._add_breakers(grant.source, grant.scopes, len(successes))
        self.returns.append((grant.id, grant.token))
        return True

    def add_request(self, request: PermitRequest, grant_id: str) -> bool:
        """Add a request; False when its cost is no positive number."""
        if not (request.cost > 0 and isfinite(request.cost)):
            return False
        priority, is_block = int(request.priority), request.block_permits is not None
        event = [0, priority, request.cost * request.permits, request.cost, request.permits if is_block else 0]
        for scope in request.scopes:
            self.events.setdefault(scope, []).append(event)
        self._add_breakers(request.source, request.scopes, 0)
        names = [str(scope) for scope in request.scopes]
        self.takes.append((grant_id, names, priority, request.cost, request.source, request.permits, is_block))
        return True

    def _add_breakers(self, source: str, scopes: Sequence[Scope], successes: int) -> None:
        of_source, *of_account = map(breaker_row_name, breaker_names(source, scopes))
        self.breakers[of_source] = self.breakers.get(of_source, 0) + successes
        self.absent.update(of_account)


def encode_batch(operations: Sequence[PermitOperation], make_id: Callable[[], str]) -> EncodedBatch | None:
    """Return the operations as one batch; None when one of them needs the full rules."""
    batch = EncodedBatch()
    for operation in operations:
        if not all(batch.add_return(*block) for block in operation.returned):
            return None
        if operation.renewed is not None:
            batch.renewals.append((operation.renewed.id, operation.renewed.token))
        if operation.request is not None and not batch.add_request(operation.request, make_id()):
            return None
    return batch


def _is_plain(outcome: CallOutcome) -> bool:
    return (
        outcome.kind in _SUCCEEDED
        and isfinite(outcome.latency_seconds)
        and all(sample.percent < SLOW_PERCENT for sample in outcome.usage)  # False for NaN
        and all(isfinite(sample.percent) for sample in outcome.usage)
    )


def _summarize_latencies(seconds: Sequence[float]) -> tuple[Any, ...]:
    """Return the new mean if there was none, the longest, and how an old mean is weighted and added to; then all."""
    if not seconds:
        return (0, 0, 1, 0, ())
    mean = added = 0.0
    for latency in seconds:
        mean = mean + LATENCY_WEIGHT * (latency - mean) if mean else latency
        added = added * (1 - LATENCY_WEIGHT) + LATENCY_WEIGHT * latency
    return (mean, max(seconds), (1 - LATENCY_WEIGHT) ** len(seconds), added, seconds)


def _last_percents(outcomes: Sequence[CallOutcome]) -> dict[Scope, tuple[float | None, float | None]]:
    """Return the last figure of each scope, and the last above 0, from which the cost of a call is estimated."""
    found: dict[Scope, tuple[float | None, float | None]] = {}
    for outcome in outcomes:
        highest: dict[Scope, float] = {}
        for sample in outcome.usage:
            highest[sample.scope] = max(sample.percent, highest.get(sample.scope, sample.percent))
        for scope, percent in highest.items():
            found[scope] = (percent, percent or found.get(scope, (None, None))[1])
    return found


class PermitStatement:
    """Runs batches by the statement. For one thread at a time; on other databases than PostgreSQL it runs none.

    After a batch that the statement did not apply because of the state of the budget, the next ones are left to the
    full rules at once: one, then twice as many each time, up to 64, so that a budget that is used up costs no second
    attempt.
    """

    def __init__(
        self,
        engine: Engine,
        settings: BackpressureSettings,
        *,
        owner: str,
        rng: Random,
        database_time: Callable[[Connection], float],
    ) -> None:
        self._engine = engine
        self._settings = settings
        self._owner = owner
        self._rng = rng
        self._time = database_time
        self._rules = json.dumps(_encode_rules(settings))
        self.is_usable = engine.dialect.name == "postgresql"
        self._to_skip = self._last_skipped = 0

    def run(self, operations: Sequence[PermitOperation | None]) -> list[Grant | None] | None:
        """Run the operations and return the grant of each, if it has one; None when the full rules must run them.

        Raises:
            Transient: the database cannot be reached, or a wait timed out.
            StorageError: its disk is full, read-only or damaged; nothing is committed.
        """
        plain = [operation for operation in operations if operation is not None]
        if not self.is_usable or len(plain) < len(operations):
            return None
        if self._to_skip:
            self._to_skip -= 1
            return None
        batch = encode_batch(plain, lambda: f"{self._rng.getrandbits(64):016x}")
        if batch is None:
            return None
        with write_statement(self._engine) as connection:
            at = None if self._time is database_time else self._time(connection)
            parameters = {"rules": self._rules, "batch": batch.to_json(self._owner), "at": at}
            result = connection.execute(_STATEMENT, parameters).scalar_one()
        if "refused" in result:
            if result["refused"] in _PASSING:
                return None
            self._to_skip = self._last_skipped = min(_MAX_SKIPPED, max(1, 2 * self._last_skipped))
            return None
        self._last_skipped = 0
        return self._grants(plain, batch, result["at"], result["token"])

    def _grants(
        self, operations: Sequence[PermitOperation], batch: EncodedBatch, at: float, token: int
    ) -> list[Grant | None]:
        """Return the grants: tokens are issued to renewals first, then to requests, in the order of the operations."""
        renewal, take = token, token + len(batch.renewals)
        ids = iter(batch.takes)
        grants: list[Grant | None] = []
        for operation in operations:
            if operation.request is not None:
                take += 1
                grants.append(self._make_grant(operation.request, next(ids)[0], at, take))
            elif operation.renewed is not None:
                renewal += 1
                grants.append(_renew(operation.renewed, at + self._settings.lease_seconds, renewal))
            else:
                grants.append(None)
        return grants

    def _make_grant(self, request: PermitRequest, id_: str, at: float, token: int) -> Grant:
        lease = self._settings.lease_seconds
        usable = lease if request.block_permits is None else min(self._settings.block_seconds, lease)
        return Grant(
            id_,
            request.scopes,
            request.priority,
            request.cost,
            granted_at=at,
            expires_at=at + lease,
            source=request.source,
            token=token,
            permits=request.permits,
            usable_until=at + usable,
        )


def _renew(grant: Grant, expires_at: float, token: int) -> Grant:
    return replace(grant, expires_at=expires_at, token=token)


def _encode_rules(settings: BackpressureSettings) -> dict[str, Any]:
    """Return the settings that the statement reads."""
    by_kind: dict[str, Any] = {str(kind): _encode_scope_rules(Scope(kind), settings) for kind in ScopeKind}
    return by_kind | {
        "shares": settings.shares,
        "lease": settings.lease_seconds,
        "block": min(settings.block_seconds, settings.lease_seconds),
        "breaker_window": settings.breaker_window_seconds,
    }


def _encode_scope_rules(scope: Scope, settings: BackpressureSettings) -> dict[str, Any]:
    rules = ScopeRules.from_settings(scope, settings)
    return {
        "slots": rules.limit.maximum,
        "rate": rules.bucket.rate if rules.bucket else None,
        "burst": rules.bucket.burst if rules.bucket else None,
        "window": rules.window_seconds,
        "shared": rules.is_shared,
        "metered": scope.kind is not ScopeKind.FLEET,
    }
