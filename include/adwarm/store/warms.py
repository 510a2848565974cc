"""Warms: each planned fetch with its reason, what became of it, and whether anybody used it."""

from collections.abc import Collection, Sequence
from datetime import datetime, timedelta
from statistics import median
from typing import Any

from sqlalchemy import Engine, delete, func, or_, select, update

from adwarm.model import Mode, ReportKey
from adwarm.store import jobs
from adwarm.store.database import read_transaction, write_transaction
from adwarm.store.tables import warm as table

Warm = dict[str, Any]
"""A row of the warm table."""

FAILED = frozenset({"failed", "stale"})
"""How a warm ends that another attempt is to try again."""
DENIED = frozenset({"denied"})
_SERVED = frozenset({"fetched", "fresh"})
_ENDED = frozenset({*_SERVED, *FAILED, *DENIED})


def replace_plan(engine: Engine, run_id: str, rows: Sequence[Warm]) -> None:
    """Store the plan of a run in place of what an earlier one of the same run has not brought about."""
    with write_transaction(engine) as connection:
        undone = table.c.status.in_(("planned", "cut", "shadow", *FAILED, *DENIED))
        connection.execute(delete(table).where(table.c.run_id == run_id, undone))
        if rows:
            connection.execute(table.insert(), [{**row, "run_id": run_id} for row in rows])


def list_planned(engine: Engine, run_id: str, number: int) -> list[Warm]:
    """Return the warms of one batch that are still to be done, most urgent first."""
    query = (
        select(table)
        .where(table.c.run_id == run_id, table.c.batch == number, table.c.status == "planned")
        .order_by(table.c.warm_at, table.c.id)
    )
    with read_transaction(engine) as connection:
        return [dict(row._mapping) for row in connection.execute(query)]


def list_ended(engine: Engine, run_id: str, number: int) -> list[Warm]:
    """Return the warms of one batch that have ended, well or badly, in the order of the plan."""
    query = (
        select(table)
        .where(table.c.run_id == run_id, table.c.batch == number, table.c.status.in_(_ENDED))
        .order_by(table.c.id)
    )
    with read_transaction(engine) as connection:
        return [dict(row._mapping) for row in connection.execute(query)]


def reopen(engine: Engine, run_id: str, number: int, statuses: Collection[str]) -> int:
    """Put the warms of one batch that ended in one of `statuses` back to planned, and return how many.

    The run's job counts them no longer as failed, in the same transaction.
    """
    chosen = (table.c.run_id == run_id, table.c.batch == number, table.c.status.in_(statuses))
    names = (table.c.account_id, table.c.date_range, table.c.report)
    again = {"status": "planned", "error": None, "fetched_at": None, "expires_at": None}
    with write_transaction(engine) as connection:
        query = update(table).where(*chosen).values(**again).returning(*names)
        keys = [ReportKey(*row) for row in connection.execute(query)]
        jobs.retract_failures(connection, run_id, [str(key) for key in keys])
    return len(keys)


def list_by_run(engine: Engine, run_id: str) -> list[Warm]:
    """Return every warm of a run in the order of its plan."""
    with read_transaction(engine) as connection:
        return [
            dict(row._mapping)
            for row in connection.execute(select(table).where(table.c.run_id == run_id).order_by(table.c.id))
        ]


def save_outcomes(engine: Engine, outcomes: Sequence[Warm]) -> None:
    """Write what became of warms: each item holds `id` and the columns to set."""
    with write_transaction(engine) as connection:
        for item in outcomes:
            values = {name: value for name, value in item.items() if name != "id"}
            connection.execute(update(table).where(table.c.id == item["id"]).values(**values))


def finish(engine: Engine, run_id: str, outcomes: Sequence[Warm], requests: int, errors: Sequence[str]) -> None:
    """Write what became of warms of one run, and count them in its job, in one transaction.

    A warm counts once: an outcome that comes after another worker's is dropped, unless it brings a fresh answer where
    the other one failed. So a worker that was stopped for a while takes nothing back, and the counts are exact.

    Args:
        outcomes: as for `record`; a warm whose status stays `planned` is to be tried again.
        requests: upstream calls to add to the job, whatever becomes of the outcomes.
        errors: reasons to add to the job.
    """
    done = failed = 0
    with write_transaction(engine) as connection:
        jobs.lock(connection, run_id)
        query = select(table.c.id, table.c.status).where(table.c.id.in_([item["id"] for item in outcomes]))
        before = {row.id: row.status for row in connection.execute(query)}
        for item in outcomes:
            was, served = before.get(item["id"]), item["status"] in _SERVED
            if was != "planned" and not (served and was in FAILED | DENIED):
                continue
            values = {name: value for name, value in item.items() if name != "id"}
            connection.execute(update(table).where(table.c.id == item["id"]).values(**values))
            done += served
            failed += int(not served and item["status"] != "planned") - int(was != "planned")
        jobs.add_counts(connection, run_id, done=done, failed=failed, requests=requests, errors=errors)


def get_calls_by_account(
    engine: Engine, since: datetime, until: datetime, run_id: str, decided_before: datetime
) -> dict[str, int]:
    """Return the upstream requests of warms fetched in the half-open window, by account.

    Those of the run itself count, and those of its DAG's runs (what stands before the first `/` of a run's id) that
    were decided before it; a later run is none of its business, so that planning again gives the same plan.
    """
    dag = table.c.run_id.startswith(run_id.partition("/")[0] + "/", autoescape=True)
    query = (
        select(table.c.account_id, func.sum(table.c.requests))
        .where(table.c.fetched_at >= since, table.c.fetched_at < until, dag)
        .where(or_(table.c.decided_at < decided_before, table.c.run_id == run_id))
        .group_by(table.c.account_id)
    )
    with read_transaction(engine) as connection:
        return {str(account): int(calls) for account, calls in connection.execute(query)}


def get_p95_seconds(engine: Engine, sample: int = 500) -> float:
    """Return the 95th percentile of how long the newest fetches of a warm took, 0 when none is known."""
    query = select(table.c.seconds).where(table.c.seconds.is_not(None)).order_by(table.c.id.desc()).limit(sample)
    with read_transaction(engine) as connection:
        seconds = sorted(float(value) for value in connection.execute(query).scalars())
    return seconds[min(len(seconds) - 1, int(0.95 * len(seconds)))] if seconds else 0.0


def get_seconds_per_request(engine: Engine, sample: int = 500) -> float | None:
    """Return how long a request of the newest fetches took on average, waiting included; None when none is known."""
    newest = (
        select(table.c.seconds, table.c.requests)
        .where(table.c.seconds.is_not(None), table.c.requests > 0)
        .order_by(table.c.id.desc())
        .limit(sample)
        .subquery()
    )
    with read_transaction(engine) as connection:
        seconds, requests = connection.execute(select(func.sum(newest.c.seconds), func.sum(newest.c.requests))).one()
    return float(seconds) / int(requests) if requests else None


def list_unmarked(engine: Engine, before: datetime, mode: Mode = Mode.LIVE) -> list[Warm]:
    """Return warms whose use is not known yet: those fetched before `before`, or shadow warms due before it."""
    shadow = mode is Mode.SHADOW
    done, moment = ("shadow", table.c.warm_at) if shadow else ("fetched", table.c.fetched_at)
    query = select(table).where(table.c.used.is_(None), table.c.status == done, moment < before)
    with read_transaction(engine) as connection:
        return [dict(row._mapping) for row in connection.execute(query)]


def get_shadow_expiries(engine: Engine, after: datetime) -> dict[tuple[str, ...], datetime]:
    """Return by key when the latest judged shadow warm would have stopped being fresh, of the week before `after`."""
    key = (table.c.account_id, table.c.date_range, table.c.report)
    query = (
        select(*key, func.max(table.c.expires_at))
        .where(table.c.status == "shadow", table.c.used.is_not(None), table.c.expires_at > after - timedelta(days=7))
        .group_by(*key)
    )
    with read_transaction(engine) as connection:
        return {tuple(row[:3]): row[3] for row in connection.execute(query)}


def get_usage(engine: Engine, since: datetime) -> list[dict[str, Any]]:
    """Return what became of the warms decided since then, by mode and reason.

    `age` is the median seconds from the fetch to the first use, `late` the median seconds from the predicted open to
    it, below 0 when people came sooner; None when nothing was used.
    """
    columns = ("mode", "reason", "used", "fetched_at", "warm_at", "predicted_open", "first_use")
    query = select(*(table.c[name] for name in columns)).where(
        table.c.decided_at >= since, table.c.status.in_(("fetched", "shadow"))
    )
    groups: dict[tuple[str, str], list[Any]] = {}
    with read_transaction(engine) as connection:
        for row in connection.execute(query):
            groups.setdefault((row.mode, row.reason), []).append(row)
    return [_usage(mode, reason, rows) for (mode, reason), rows in sorted(groups.items())]


def _usage(mode: str, reason: str, rows: list[Any]) -> dict[str, Any]:
    used = [row for row in rows if row.used]
    ages = [(row.first_use - (row.fetched_at or row.warm_at)).total_seconds() for row in used]
    late = [(row.first_use - row.predicted_open).total_seconds() for row in used if row.predicted_open]
    return {
        "mode": mode,
        "reason": reason,
        "used": len(used),
        "wasted": sum(row.used is False for row in rows),
        "open": sum(row.used is None for row in rows),
        "age": median(ages) if ages else None,
        "late": median(late) if late else None,
    }


def list_by_reason(engine: Engine, reason: str) -> list[Warm]:
    """Return every warm with this reason that was meant to be carried out, in the order of the plans."""
    query = select(table).where(table.c.reason == reason, table.c.status.not_in(("cut", "shadow"))).order_by(table.c.id)
    with read_transaction(engine) as connection:
        return [dict(row._mapping) for row in connection.execute(query)]


def count_cut(engine: Engine, reason: str) -> int:
    """Return how many warms with this reason were cut from their plans."""
    query = select(func.count()).where(table.c.reason == reason, table.c.status == "cut")
    with read_transaction(engine) as connection:
        return int(connection.execute(query).scalar_one())


def count_by_status(engine: Engine) -> dict[str, int]:
    """Return the number of warms by status, and of those that were fetched the used and the wasted."""
    with read_transaction(engine) as connection:
        found = {
            row.status: int(row.n)
            for row in connection.execute(select(table.c.status, func.count().label("n")).group_by(table.c.status))
        }
        for name, value in (("used", True), ("wasted", False)):
            judged = select(func.count()).where(table.c.used.is_(value), table.c.status != "shadow")
            found[name] = int(connection.execute(judged).scalar_one())
    return found
