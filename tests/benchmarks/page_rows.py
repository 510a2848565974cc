"""The small tables of the store that the page is measured with: limits, alerts, strategies, reviews, switches."""

from collections.abc import Mapping
from datetime import datetime, timedelta
from typing import Any, Final

from sqlalchemy import Connection, Table

from adwarm.model import Scope
from adwarm.store import access_tokens, aggregates, alerts, capacity, gates, maintenance_steps, snapshots, strategies
from tests.support.gate_rows import breaker_row, isolation_row, park_row, switch_row

SHARED_SCOPES: Final = ("app:4711", "fleet", "token:default", "token:second")
HOSTILE: Final = "<b>Sale</b> \"50 %\" & 'more' \u202egnp.exe"
_STEPS: Final = [
    "sample_capacity",
    "check_health",
    "scrub",
    "repair_degraded",
    "compact",
    "evict_entries",
    "collect_garbage",
    "apply_retention",
    "deliver_alerts",
    "reconcile",
]
Row = dict[str, Any]


def fill_small(connection: Connection, now: datetime, accounts: int) -> None:
    """Insert the rows."""
    limits = {capacity.capacity_scope: _scopes(now, accounts), gates.table: _gates(now, accounts)}
    events = {alerts.alert: _alerts(now), maintenance_steps.table: _steps(now)}
    planning = {
        snapshots.forecast_snapshot: _snapshots(now),
        snapshots.policy: [_policy(now)],
        snapshots.policy_review: _reviews(now),
        strategies.table: [_strategy(number) for number in range(20)],
        strategies.states: [{"name": f"strategy {number}", "checked_at": now} for number in range(20)],
        access_tokens.table: [_token(number, now) for number in range(20)],
        aggregates.watermark: [{"name": "opens", "until": now, "updated_at": now}],
    }
    rows: Mapping[Table, list[Row]] = {**limits, **events, **planning}
    for table, values in rows.items():
        connection.execute(table.insert(), values)


def _scopes(now: datetime, accounts: int) -> list[Row]:
    names = [*SHARED_SCOPES, *(f"account:act_{1_000_000 + number}" for number in range(accounts))]
    return [_scope(name, number, now.timestamp()) for number, name in enumerate(names)]


def _scope(name: str, number: int, now: float) -> Row:
    usage = None if name == str(Scope.parse("fleet")) else 15.0 + number % 80
    state = {"limit": [12.0], "bucket": [3.0, now], "meter": [3_600.0, usage, now, 0.01, 100.0, 1.0]}
    return {"scope": name, "usage": usage, "state": state}


def _gates(now: datetime, accounts: int) -> list[Row]:
    moment = now.timestamp()
    names = [*SHARED_SCOPES, *(f"account:act_{1_000_000 + number}" for number in range(accounts))]
    sources = ["source:meta", *(f"source:meta account:act_{1_000_000 + number}" for number in range(40))]
    why = f"Denied: the user may not read {HOSTILE}"
    return [
        *(park_row(name, moment + 3_600, f"usage at 100 % {HOSTILE}", moment - 60) for name in names[3::100]),
        *(
            breaker_row(name, "open" if number % 10 == 1 else "closed", moment - 900, moment + 30)
            for number, name in enumerate(sources)
        ),
        *(
            isolation_row(name, "open" if number < 5 else "closed", moment - 1_800, moment + 1_800, why)
            for number, name in enumerate(names[len(SHARED_SCOPES) :][:30])
        ),
        *(switch_row(name, moment - 3 * 86_400, HOSTILE) for name in ("warming", "shadow")),
    ]


def _alerts(now: datetime) -> list[Row]:
    return [
        {
            "kind": "Transient",
            "scope": f"account:act_{1_000_000 + number}",
            "opened_at": now - timedelta(hours=number),
            "last_at": now - timedelta(hours=number),
            "errors": 12,
            "window_seconds": 600.0,
            "example": HOSTILE,
            "reason": f"the platform answered 503 {HOSTILE}",
            "next_step": "Check that the platform responds.",
            "resolved_at": now if number > 4 else None,
        }
        for number in range(300)
    ]


def _steps(now: datetime) -> list[Row]:
    return [
        {
            "name": name,
            "owner": "",
            "started_at": now - timedelta(minutes=5),
            "finished_at": now - timedelta(minutes=4),
            "round_finished_at": now - timedelta(minutes=4),
            "seconds": 2.0,
            "result": {"counts": {}, "problems": [HOSTILE] if name == "scrub" else []},
            "error": f"Transient: {HOSTILE}" if name == "reconcile" else None,
        }
        for name in _STEPS
    ]


def _snapshots(now: datetime) -> list[Row]:
    return [
        {
            "id": f"{number:064x}",
            "kind": "boosted",
            "version": "3",
            "object_hash": f"{number:064x}",
            "trained_from": now - timedelta(days=90 + number),
            "trained_until": now - timedelta(days=number),
            "keys": 100_000,
            "features": [],
            "metrics": {"ece": 0.02, "brier": 0.08},
            "created_at": now - timedelta(days=number),
        }
        for number in range(90)
    ]


def _policy(now: datetime) -> Row:
    return {"name": "live", "snapshot_id": f"{0:064x}", "mode": "live", "updated_at": now}


def _reviews(now: datetime) -> list[Row]:
    return [
        {
            "run_id": f"adwarm_policy_review/scheduled__{number}",
            "at": now - timedelta(weeks=number),
            "result": "kept",
            "live_kind": "boosted",
            "figures": {"why": "no policy is surely better than boosted"},
        }
        for number in range(12)
    ]


def _strategy(number: int) -> Row:
    return {
        "name": f"strategy {number}",
        "date_ranges": ["yesterday", "last_7d"],
        "accounts": [f"act_{1_000_000 + number * 10 + account}" for account in range(10)],
        "excluded_accounts": [],
        "opened_only": False,
    }


def _token(number: int, now: datetime) -> Row:
    return {
        "id": f"token{number}",
        "secret_hash": f"{number:064x}",
        "name": HOSTILE,
        "scopes": ["read"],
        "created_at": now - timedelta(days=number),
    }
