"""The table `gate`: what is not called now, and whose failures count. Every process reads and writes the same rows."""

from collections.abc import Callable, Mapping
from collections.abc import Set as AbstractSet
from typing import Any

from sqlalchemy import (
    JSON,
    Column,
    Connection,
    Engine,
    Float,
    Index,
    RowMapping,
    String,
    Table,
    Text,
    delete,
    or_,
    select,
    text,
)

from adwarm.foundation.gate import Gate, GateState, OpenedBy, Rule
from adwarm.store.columns import key_column, metadata, value_column
from adwarm.store.database import database_time, insert_new, read_statement, read_transaction, upsert, write_transaction

MAX_SCOPE_LENGTH = 250
_IS_CLOSED = text("closed_until IS NOT NULL")

# One row per scope and rule that forbids calls, or whose failures count; see `adwarm.foundation.gate`. Maintenance
# deletes those without an effect.
table = Table(
    "gate",
    metadata,
    key_column("scope", String(MAX_SCOPE_LENGTH)),
    key_column("rule", String(16)),
    value_column("since", Float),
    Column("closed_until", Float),
    value_column("why", Text),
    value_column("opened_by", String(16)),
    Column("kept_until", Float),
    value_column("data", JSON, dict),
    # The few closed ones are looked for among those whose failures count, and among parks that are over.
    Index(None, "closed_until", sqlite_where=_IS_CLOSED, postgresql_where=_IS_CLOSED),
    Index(None, "rule", "kept_until"),
)

Change = Callable[[Gate], Gate]


class SqlGates:
    """The gates of all processes. Safe to share between threads."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def list_gates(self, now: float, *rules: Rule) -> list[Gate]:
        """Return the gates of some rules that are not open, and those whose failures count at `now`, by scope."""
        counts = or_(table.c.kept_until.is_(None), table.c.kept_until > now)
        query = select(table).where(table.c.rule.in_(rules), counts).order_by(table.c.scope)
        with read_statement(self._engine) as connection:
            return [read_row(row) for row in connection.execute(query).mappings()]

    def find(self, scope: str, rule: Rule) -> Gate | None:
        """Return the gate of a scope and rule; None when it has no row."""
        query = select(table).where(table.c.scope == scope, table.c.rule == rule)
        with read_statement(self._engine) as connection:
            row = connection.execute(query).mappings().one_or_none()
        return None if row is None else read_row(row)

    def change(self, scope: str, rule: Rule, change: Change) -> Gate:
        """Replace the gate by what `change` returns for it, and return that; concurrent changes wait."""
        query = select(table).where(table.c.scope == scope, table.c.rule == rule).with_for_update()
        with write_transaction(self._engine) as connection:
            # PostgreSQL locks only rows that exist; of two callers that insert one, the second waits for the first.
            insert_new(connection, table, [to_row(Gate(scope, rule))])
            after = change(read_row(connection.execute(query).mappings().one()))
            save_gates(connection, [after])
        return after

    def delete_ended(self, before: float) -> int:
        """Delete the gates that had no effect any more at `before`, and return how many."""
        with write_transaction(self._engine) as connection:
            return int(connection.execute(delete(table).where(table.c.kept_until < before)).rowcount)


def list_closed(engine: Engine, now: float | None = None, also: Rule | None = None) -> list[Gate]:
    """Return the gates that let no call pass, or only probes: shared scopes first, then those closed longest.

    An account that every connection was denied is listed once, and not for each of them.

    Args:
        now: the time; the database's own by default.
        also: a rule whose open gates are returned too.
    """
    with read_transaction(engine) as connection:
        return _read_closed(connection, database_time(connection) if now is None else now, also)


def list_due(engine: Engine, rule: Rule, now: float | None = None) -> list[Gate]:
    """Return the breakers or isolations whose time is over, so that the next call is a probe.

    Those that nobody has called since come first, of these the ones whose time is over longest.
    """
    with read_transaction(engine) as connection:
        at = database_time(connection) if now is None else now
        due = [gate for gate in _read_closed(connection, at) if gate.rule is rule and gate.remaining_seconds(at) <= 0]
    return sorted(due, key=lambda gate: (gate.state is GateState.TESTING, gate.closed_until))


def _read_closed(connection: Connection, now: float, also: Rule | None = None) -> list[Gate]:
    is_tested = table.c.rule.in_([Rule.BREAKER, Rule.ISOLATION]) & table.c.closed_until.is_not(None)
    is_closed = or_(table.c.closed_until > now, is_tested, table.c.rule == (also or ""))
    query = select(table).where(is_closed, table.c.rule != Rule.COOLDOWN)  # which forbids no call
    gates = list(map(read_row, connection.execute(query).mappings()))
    denied = {gate.scope for gate in gates if gate.rule is Rule.DENIAL}
    gates = [gate for gate in gates if not _is_part(gate, denied)]
    return sorted(gates, key=lambda gate: (gate.account_id is not None, -(gate.closed_until or 0.0), gate.scope))


def _is_part(gate: Gate, denied: AbstractSet[str]) -> bool:
    """Whether it is a connection's denial of an account that is denied as a whole."""
    whole = f"account:{gate.account_id}"
    return gate.rule is Rule.DENIAL and gate.scope != whole and whole in denied


def save_gates(connection: Connection, gates: list[Gate]) -> None:
    """Insert gates, or replace those of the same scope and rule."""
    upsert(connection, table, [to_row(item) for item in gates])


def to_row(gate: Gate) -> dict[str, Any]:
    """Return the row that stores a gate."""
    return {
        "scope": gate.scope,
        "rule": gate.rule.value,
        "since": gate.since,
        "closed_until": gate.closed_until,
        "why": gate.why,
        "opened_by": gate.opened_by.value,
        "kept_until": gate.kept_until,
        "data": dict(gate.data),
    }


def read_row(row: RowMapping | Mapping[str, Any]) -> Gate:
    """Return the gate that is stored as `row`."""
    return Gate(**{**row, "rule": Rule(row["rule"]), "opened_by": OpenedBy(row["opened_by"])})
