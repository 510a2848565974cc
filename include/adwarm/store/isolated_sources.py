"""Which connections, accounts and fallbacks are isolated. In the database, because every task is another process."""

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Any

from sqlalchemy import Engine, delete, func, or_, select

from adwarm.foundation.circuit import BreakerState
from adwarm.store.capacity_tables import isolation
from adwarm.store.database import insert_new, read_statement, upsert, write_transaction

MAX_SCOPE_LENGTH = 200
_CLOSED = BreakerState.CLOSED.value


@dataclass(frozen=True, slots=True)
class IsolationRow:
    """The stored state of one scope. Times are in seconds since the epoch.

    Attributes:
        scope: such as `connection:NAME`, `account:ID` or `fallback:NAME`.
        state: of its breaker: `closed`, `open` (isolated) or `half_open` (probed).
        changed_at: when the state began.
        until: when the isolation ends; while closed, until when its failures count; None while it is probed.
        reason: what isolated it, or the last failure.
        data: the state machine's own values, `failures`, `kind` and `credential`.
    """

    scope: str
    state: str
    changed_at: float
    until: float | None
    reason: str | None
    data: Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class IsolationState:
    """What is known of a scope that has failed lately.

    Attributes:
        scope: such as `connection:NAME`, `account:ID` or `fallback:NAME`.
        state: `closed`, `open` (isolated) or `half_open` (probed).
        since: when the state began, UTC.
        until: when the isolation ends, UTC; while closed, until when its failures count; None while it is probed.
        reason: what isolated it, or the last failure, without secrets.
        failures: failures since it last worked.
        kind: class of the last failure.
        credential: digest of the credential that was refused then; empty when the token is not the reason.
    """

    scope: str
    state: str
    since: datetime
    until: datetime | None
    reason: str | None
    failures: int
    kind: str | None = None
    credential: str = ""

    @property
    def is_isolated(self) -> bool:
        """Whether it is isolated, or being probed after an isolation."""
        return self.state != _CLOSED


Change = Callable[[IsolationRow], IsolationRow]


class SqlIsolationStore:
    """Isolation states in the table `isolation`. Safe to share between threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def list_states(self, now: float) -> list[IsolationState]:
        """Return the scopes that are isolated or probed, and those whose failures still count, by scope."""
        table = isolation.c
        query = (
            select(
                table.scope,
                table.state,
                table.changed_at,
                table.until,
                table.reason,
                table.data["failures"].as_integer().label("failures"),
                table.data["kind"].as_string().label("kind"),
                table.data["credential"].as_string().label("credential"),
            )
            .where(or_(table.state != _CLOSED, table.until > now))
            .order_by(table.scope)
        )
        with read_statement(self._engine) as connection:
            rows = connection.execute(query).all()
        return [
            IsolationState(
                row.scope,
                row.state,
                datetime.fromtimestamp(row.changed_at, UTC),
                None if row.until is None else datetime.fromtimestamp(row.until, UTC),
                row.reason,
                row.failures or 0,
                row.kind,
                row.credential or "",
            )
            for row in rows
        ]

    def count_isolated(self) -> int:
        """Return how many scopes are isolated or probed."""
        query = select(func.count()).select_from(isolation).where(isolation.c.state != _CLOSED)
        with read_statement(self._engine) as connection:
            return int(connection.execute(query).scalar_one())

    def change(self, scope: str, change: Change) -> IsolationRow:
        """Replace the row of a scope by what `change` returns for it, and return that; concurrent changes wait."""
        query = select(isolation).where(isolation.c.scope == scope).with_for_update()
        with write_transaction(self._engine) as connection:
            # PostgreSQL locks only rows that exist; of two callers that insert one, the second waits for the first.
            insert_new(connection, isolation, [_values(new_row(scope))])
            before = connection.execute(query).one()
            after = change(IsolationRow(**before._mapping))
            upsert(connection, isolation, [_values(after)])
        return after

    def delete_closed(self, before: float) -> int:
        """Delete the closed scopes whose failures stopped counting before `before`, and return how many."""
        table = isolation.c
        is_old = or_(table.until.is_(None), table.until < before)
        with write_transaction(self._engine) as connection:
            return int(connection.execute(delete(isolation).where(table.state == _CLOSED, is_old)).rowcount)


def new_row(scope: str) -> IsolationRow:
    """Return the row of a scope that has never failed."""
    return IsolationRow(scope, _CLOSED, 0.0, None, None, {})


def _values(row: IsolationRow) -> dict[str, Any]:
    return {
        "scope": row.scope,
        "state": row.state,
        "changed_at": row.changed_at,
        "until": row.until,
        "reason": row.reason,
        "data": dict(row.data),
    }
