"""Calls to the platform by hour and cause, so that each call of a day is explained."""

from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine, func, literal, select, union_all, update

from adwarm.foundation.clock import floor_to
from adwarm.model import Actor, CallCause, CauseKind
from adwarm.store.database import insert_new, read_transaction, write_transaction
from adwarm.store.read_traffic import add_counts, get_day_start
from adwarm.store.tables import call_hour as table
from adwarm.store.tables import traffic_hour


@dataclass(frozen=True, slots=True)
class CauseCalls:
    """The calls of one cause."""

    cause: CallCause
    calls: int

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "cause": str(self.cause.kind),
            "strategy": self.cause.strategy or None,
            "text": str(self.cause),
            "calls": self.calls,
        }


@dataclass(frozen=True, slots=True)
class DayCalls:
    """The calls of the last 24 hours.

    Attributes:
        made: all of them.
        causes: their causes, the most frequent first; the sum of their calls is `made`.
    """

    made: int
    causes: tuple[CauseCalls, ...]

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {"made": self.made, "causes": [item.to_dict() for item in self.causes]}


def count_calls(
    engine: Engine, at: datetime, account_id: str, cause: CallCause, *, calls: int, **failures: int
) -> None:
    """Count calls in the hour of `at`: those of an account, and those of a cause. The one place that counts calls.

    Args:
        engine: the database.
        at: when they were made.
        account_id: the account that they are about; empty: none.
        cause: what made them necessary.
        calls: how many they are.
        failures: `throttles`, by the platform, and `errors`, fetches that have failed.
    """
    hour = floor_to(at, timedelta(hours=1))
    counts = {"upstream_calls": calls, **failures}
    if not any(counts.values()):
        return
    key = {"hour": hour, "cause": str(cause.kind), "strategy": cause.strategy}
    same = [table.c[name] == value for name, value in key.items()]
    with write_transaction(engine) as connection:
        add_counts(connection, {(hour, account_id, Actor.WARMER.value): counts})
        if calls:
            insert_new(connection, table, [{**key, "calls": 0}])
            connection.execute(update(table).where(*same).values(calls=table.c.calls + calls))


def get_day_calls(engine: Engine, now: datetime) -> DayCalls:
    """Return the calls of the last 24 hours and what caused them. Command line, read API and page all show this.

    Hours that were counted before there was a record of causes count as `unknown`.
    """
    since, calls = get_day_start(now), func.sum(table.c.calls)
    causes_of_day = select(table.c.cause, table.c.strategy, calls.label("calls")).where(table.c.hour >= since)
    made = func.coalesce(func.sum(traffic_hour.c.upstream_calls), 0)
    all_of_day = select(literal(""), literal(""), made).where(traffic_hour.c.hour >= since)
    query = union_all(all_of_day, causes_of_day.group_by(table.c.cause, table.c.strategy))
    with read_transaction(engine) as connection:
        rows = [(str(cause), str(strategy), int(count)) for cause, strategy, count in connection.execute(query)]
    [total] = [count for cause, _, count in rows if not cause]
    causes = [CauseCalls(CallCause(CauseKind(cause), strategy), count) for cause, strategy, count in rows if cause]
    causes.sort(key=lambda item: (-item.calls, item.cause))
    rest = total - sum(item.calls for item in causes)
    causes += [CauseCalls(CallCause(CauseKind.UNKNOWN), rest)] if rest else []
    return DayCalls(total, tuple(causes))
