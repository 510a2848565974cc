"""Rows that a day of work without trouble does not leave: failures, limits, strategies, and what people did."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from math import sin
from typing import Any

from sqlalchemy import Table, and_, insert, select, update

from adwarm.foundation.circuit import Breaker, BreakerState
from adwarm.foundation.cron import find_latest
from adwarm.foundation.gate import Gate, OpenedBy, Rule
from adwarm.model import PolicyReview, Strategy, WarmReason
from adwarm.model.fatigue_score import CREATIVE_KEY
from adwarm.store import Context, read_transaction, write_transaction
from adwarm.store.accounts import table as account_table
from adwarm.store.action_events import record_action
from adwarm.store.alerts import alert as alert_table
from adwarm.store.amounts import table as amount_table
from adwarm.store.capacity import capacity_sample, capacity_scope
from adwarm.store.database import upsert
from adwarm.store.error_events import error_event
from adwarm.store.gates import table as gate_table
from adwarm.store.gates import to_row
from adwarm.store.healing_runs import HealingRun, HealingStore
from adwarm.store.read_traffic import table as traffic_hour
from adwarm.store.requests import table as request_table
from adwarm.store.scores import table as fatigue_score
from adwarm.store.snapshots import save_review
from adwarm.store.strategies import save_strategy
from adwarm.store.strategies import states as strategy_state
from adwarm.store.switches import Switch, SwitchState, set_switch
from adwarm.store.warms import table as warm_table

SHOPS = (
    "Harbor Coffee", "Northwind Bikes", "Alder & Sons", "Blue Door Books", "Casa Verde", "Delta Outdoor",
    "Elm Street Bakery", "Fjord Knitwear", "Green Fork", "Hill Top Hotels", "Iris Eyewear", "Juniper Skincare",
)  # fmt: skip
"""Names of advertisers, by account in turn."""
_ADS = ("Autumn sale, video", "New arrivals, carousel", "Free shipping, image", "Reviews, story", "Gift guide, video")
_DAY, _HOUR = timedelta(days=1), timedelta(hours=1)
_scopes = capacity_scope.c.scope
Row = dict[str, Any]


@dataclass(frozen=True, slots=True)
class _Writer:
    """Writes the rows.

    Attributes:
        accounts: accounts with reports, those that are opened most first.
    """

    context: Context
    now: datetime
    accounts: Sequence[str]

    def insert(self, table: Table, rows: list[Row]) -> None:
        """Insert rows, and replace those that are there."""
        with write_transaction(self.context.engine) as connection:
            upsert(connection, table, rows)


def add_rows(context: Context, now: datetime, accounts: Sequence[str]) -> None:
    """Add the rows to a store with the work of the last hours.

    Args:
        accounts: at least twelve accounts with reports.
    """
    add_history(context, now, accounts)
    writer = _Writer(context, now, accounts)
    for add in (_add_trouble, _add_limits, _add_requests, _add_people, _add_strategies):
        add(writer)


def add_history(context: Context, now: datetime, accounts: Sequence[str]) -> None:
    """Add names, what was read before, and reviews: what is the same whatever happens next."""
    writer = _Writer(context, now, accounts)
    for add in (_add_names, _add_seconds, _add_earlier_days, _add_reviews):
        add(writer)


def _add_names(writer: _Writer) -> None:
    own = fatigue_score.c
    with write_transaction(writer.context.engine) as connection:
        for number, account_id in enumerate(writer.accounts):
            name = SHOPS[number % len(SHOPS)] + (f" {number // len(SHOPS) + 1}" if number >= len(SHOPS) else "")
            connection.execute(update(account_table).where(account_table.c.id == account_id).values(name=name))
        ads = select(own.ad_id).where(~own.ad_id.startswith(CREATIVE_KEY)).distinct().order_by(own.ad_id)
        for number, (ad_id,) in enumerate(connection.execute(ads).all()):
            name = f"{_ADS[number % len(_ADS)]} {number // len(_ADS) + 1}"
            connection.execute(update(fatigue_score).where(fatigue_score.c.ad_id == ad_id).values(ad_name=name))


def _add_seconds(writer: _Writer) -> None:
    """Let each fetch have taken as long as a call of a real platform does; on a virtual clock it took no time."""
    took = (1.2 + 0.4 * (warm_table.c.id % 5)) * warm_table.c.requests
    timeless = and_(warm_table.c.seconds.is_(None), warm_table.c.requests > 0)
    with write_transaction(writer.context.engine) as connection:
        connection.execute(update(warm_table).where(timeless).values(seconds=took))


def _add_earlier_days(writer: _Writer) -> None:
    """Repeat the work back over a week, a little less warm than it was."""
    with write_transaction(writer.context.engine) as connection:
        traffic, calls, fetched = (
            [dict(row._mapping) for row in connection.execute(query)]
            for query in (
                select(traffic_hour),
                select(amount_table).where(amount_table.c.name == "calls"),
                select(warm_table).where(warm_table.c.seconds > 0, warm_table.c.fetched_at.is_not(None)),
            )
        )
        hours = [row["hour"] for row in traffic if row["first_opens"]]
        span = max(hours) - min(hours) + _HOUR
        for back in range(1, int(7 * _DAY / span)):
            earlier = back * span
            moved = [{**row, "hour": row["hour"] - earlier} for row in traffic if row["hour"] >= min(hours)]
            for row in moved[back % 9 :: 9]:
                row["hits"], row["first_hits"] = max(0, row["hits"] - row["first_hits"]), 0
            upsert(connection, traffic_hour, moved)
            upsert(connection, amount_table, [{**row, "since": row["since"] - earlier} for row in calls])
            if fetched:
                rows = [_move_warm(row, number, earlier) for number, row in enumerate(fetched)]
                connection.execute(insert(warm_table), rows)


def _move_warm(row: Row, number: int, earlier: timedelta) -> Row:
    """Return a warm as it was some time before; one whose use is not known yet was used, or every sixth was not."""
    moved = {name: value - earlier if isinstance(value, datetime) else value for name, value in row.items()}
    if row["used"] is None and row["superseded_by"] is None:
        moved["used"] = number % 6 > 0
        moved["first_use"] = moved["fetched_at"] + _HOUR if moved["used"] else None
    del moved["id"]
    return {**moved, "run_id": f"{row['run_id'].partition('/')[0]}/scheduled__{moved['decided_at'].isoformat()}"}


def _add_trouble(writer: _Writer) -> None:
    now, (parked, failing, denied, slow) = writer.now, writer.accounts[4:8]
    opened, isolated = (now - timedelta(minutes=9)).timestamp(), (now - timedelta(minutes=40)).timestamp()
    breaker = Breaker(BreakerState.OPEN, opened, opened + 1_800)
    why = "Denied: the user has not granted ads_read for this account"
    data = {**Breaker(BreakerState.OPEN, isolated, isolated + 3_600).to_dict(), "failures": 5, "kind": "Denied"}
    gates = [
        Gate(f"source:meta account:{failing}", Rule.BREAKER, opened, opened + 1_800, data=breaker.to_dict()),
        Gate(f"account:{denied}", Rule.ISOLATION, isolated, isolated + 3_600, why, data=data),
    ]
    writer.insert(gate_table, [to_row(gate) for gate in gates])
    errors = [
        (3, "Throttled", "17", parked, "User request limit reached"),
        (9, "Transient", "2", failing, "An unexpected error has occurred. Please retry your request later."),
        (11, "Transient", "2", failing, "An unexpected error has occurred. Please retry your request later."),
        (12, "Transient", "1", failing, "An unknown error occurred"),
        (40, "Denied", "200", denied, "The user has not granted ads_read for this account"),
        (95, "TooMuchData", "100", slow, "Please reduce the amount of data you're asking for"),
        (400, "Transient", "503", slow, "the platform answered 503"),
    ]
    healing = HealingStore(writer.context.engine)
    for at, account_id in ((now - timedelta(minutes=95), slow), (now - timedelta(hours=9), writer.accounts[8])):
        run = _healing(at, account_id)
        healing.finish(run.action, succeeded=True, detail=run.detail, run=run)
    with write_transaction(writer.context.engine) as connection:
        connection.execute(insert(error_event), [_error(now, *error) for error in errors])
        connection.execute(
            insert(alert_table),
            [
                {
                    "kind": "Transient",
                    "scope": f"account:{failing}",
                    "opened_at": now - timedelta(minutes=9),
                    "last_at": now - timedelta(minutes=9),
                    "errors": 12,
                    "window_seconds": 600.0,
                    "example": f"{failing} last_7d",
                    "reason": "12 errors in 10 min, the last: An unexpected error has occurred (code 2)",
                    "next_step": "Wait for the next test, or look at the platform's status page.",
                }
            ],
        )


def _error(now: datetime, minutes: int, kind: str, code: str, account_id: str, message: str) -> Row:
    return {
        "at": now - timedelta(minutes=minutes),
        "source": "meta",
        "kind": kind,
        "code": code,
        "connection": "default",
        "account_id": account_id,
        "subject": f"{account_id} last_7d",
        "message": message,
    }


def _healing(at: datetime, account_id: str) -> HealingRun:
    return HealingRun(
        at=at,
        action="partition_refetch",
        scope=f"account:{account_id}",
        source="meta",
        error_kind="Corrupt",
        succeeded=True,
        detail="3 days were fetched again",
        seconds=4.2,
        owner="worker-2",
    )


def _add_limits(writer: _Writer) -> None:
    """Add the shared limits over time, and an account whose quota is used up."""
    now = writer.now
    with read_transaction(writer.context.engine) as connection:
        token = connection.execute(select(capacity_scope.c.scope).where(_scopes.like("token:%")).limit(1)).scalar_one()
    app = "app:4711"
    usage = {app: 61.0, token: 38.0, **{f"account:{name}": 22.0 + 9 * n for n, name in enumerate(writer.accounts[:6])}}
    writer.insert(capacity_scope, [_scope(now, name, percent) for name, percent in usage.items()])
    name, moment = f"account:{writer.accounts[4]}", now.timestamp()
    why = "the platform reports that 100% of the quota is used"
    writer.insert(capacity_scope, [_scope(now, name, 100.0)])
    parked = Gate(name, Rule.PARK, moment - 180, moment + 1_500, why, opened_by=OpenedBy.TIME)
    writer.insert(gate_table, [to_row(parked)])
    samples = [
        {
            "at": now.replace(second=0, microsecond=0) - n * timedelta(minutes=15),
            "scope": name,
            "limit": 12.0 + (n // 8 + shift) % 5,
            "in_flight": max(0, round(4 + 4 * sin(n / 7 + shift))),
            "usage": round(40 + 22 * sin(n / 11 + shift), 1),
            "is_parked": False,
        }
        for n in range(96)
        for shift, name in enumerate((app, token))
    ]
    writer.insert(capacity_sample, samples)


def _scope(now: datetime, name: str, usage: float) -> Row:
    moment = now.timestamp()
    return {
        "scope": name,
        "usage": usage,
        "state": {"limit": [12.0], "bucket": [3.0, moment], "meter": [3_600.0, usage, moment, 0.01, 100.0, 1.0]},
    }


def _add_requests(writer: _Writer) -> None:
    """Add requests of readers: some wait, some came, one failed."""
    kinds = [
        ("pending", 1, 0.5, None), ("pending", 2, 1.0, None), ("processing", 1, 0.7, None), ("completed", 1, 12, None),
        ("completed", 2, 31, None), ("failed", 1, 47, "Denied: the user has not granted ads_read for this account"),
        ("completed", 2, 66, None), ("completed", 1, 124, None),
    ]  # fmt: skip
    rows = []
    for number, (status, priority, minutes, error) in reversed(list(enumerate(kinds))):
        at = writer.now - timedelta(minutes=minutes)
        is_open = status in {"pending", "processing"}
        rows.append({
            "account_id": writer.accounts[6 if error else number],
            "date_range": ("last_7d", "yesterday", "last_28d")[number % 3],
            "priority": priority,
            "status": status,
            "enqueued_at": at,
            "deadline": at + 2 * _HOUR,
            "attempts": 0 if status == "pending" else 1,
            "owner": None if status == "pending" else "worker-1",
            "lease_until": writer.now + timedelta(minutes=2) if status == "processing" else None,
            "error": error,
            "error_kind": "Denied" if error else None,
            "finished_at": None if is_open else at + timedelta(seconds=20 + 7 * number),
        })
    with write_transaction(writer.context.engine) as connection:
        connection.execute(insert(request_table), rows)


def _add_people(writer: _Writer) -> None:
    engine, now, account_id = writer.context.engine, writer.now, writer.accounts[0]
    shadow_on, shadow_off = now - 9 * _DAY, now - 6 * _DAY
    for is_on, at, why in (
        (True, shadow_on, "watch the new forecast for some days"),
        (False, shadow_off, "it is right"),
    ):
        set_switch(engine, SwitchState(Switch.SHADOW, is_on, at, "maria", why))
    actions = [
        (shadow_off, "maria", "airflow", "switch", "shadow", "shadow mode is off", "it is right"),
        (
            now - _DAY,
            "jonas",
            "airflow",
            "open_gate",
            f"account:{account_id}",
            "it is called again",
            "the ads are ended",
        ),
        (now - 5 * _HOUR, "admin", "cli", "warm_now", f"{account_id} last_28d", "1 report is requested", "a call at 9"),
        (now - 3 * _HOUR, "jonas", "cli", "purge", account_id, "2 stored reports are deleted", "wrong currency"),
    ]
    for at, actor, via, action, subject, detail, why in actions:
        record_action(
            engine,
            at=at,
            actor=actor,
            via=via,
            action=action,
            subject=subject,
            arguments={"why": why},
            succeeded=True,
            detail=detail,
        )


def _add_strategies(writer: _Writer) -> None:
    chosen = tuple(sorted(writer.accounts[:10]))
    strategies = [
        Strategy("Morning reports", ("yesterday", "last_7d"), accounts=chosen, cron="0 6 * * mon-fri", time_zone="UTC"),
        Strategy("Monthly review", ("last_month", "last_90d"), cron="0 3 1 * *"),
        Strategy("Black week", ("today",), enabled=False, accounts=chosen[:3], cron="0 * * * *", priority="high"),
    ]
    with write_transaction(writer.context.engine) as connection:
        for strategy in strategies:
            save_strategy(connection, strategy, writer.now - 20 * _DAY)
            planned = {
                "name": strategy.name,
                "planned_slot": find_latest(strategy.cron, strategy.time_zone, writer.now),
            }
            upsert(connection, strategy_state, [planned])
    warm_rows = [_strategy_warm(writer.now, number, account_id) for number, account_id in enumerate(chosen * 8)]
    with write_transaction(writer.context.engine) as connection:
        connection.execute(insert(warm_table), warm_rows)


def _strategy_warm(now: datetime, number: int, account_id: str) -> Row:
    at = now - _DAY - (number // 10) * _DAY
    is_used = number % 4 > 0
    return {
        "run_id": f"adwarm_strategy_warming/scheduled__{at:%Y-%m-%dT06:00:00}+00:00",
        "account_id": account_id,
        "date_range": ("yesterday", "last_7d")[number % 2],
        "reason": WarmReason.STRATEGY.value,
        "mode": "live",
        "decided_at": at,
        "warm_at": at,
        "explanation": {"why": "the strategy Morning reports is due"},
        "status": "fetched",
        "fetched_at": at + timedelta(minutes=3),
        "expires_at": at + 6 * _HOUR,
        "requests": 2 - number % 2,
        "seconds": 2.5,
        "used": is_used,
        "first_use": at + 2 * _HOUR if is_used else None,
        "strategy": "Morning reports",
    }


def _add_reviews(writer: _Writer) -> None:
    monday = writer.now - timedelta(days=writer.now.weekday())
    ratios = (0.71, 0.69, 0.7)
    with write_transaction(writer.context.engine) as connection:
        for back, ratio in enumerate(ratios):
            text = f"With 1.52 x the calls of no warming, {ratio:.1%} of first opens found a fresh report"
            figures = {
                "why": "no policy is surely better than the one in use",
                "headline": {"text": text},
                "drift": {"stability": 0.031 + 0.01 * back, "accounts": 400, "judged": 212, "moved": 4 - back},
            }
            at = monday - timedelta(weeks=back)
            run_id = f"adwarm_policy_review/scheduled__{at:%Y-%m-%d}"
            save_review(
                connection,
                PolicyReview(
                    run_id=run_id,
                    at=at,
                    result="kept",
                    live_kind="boosted",
                    proposed_kind=None,
                    proposed_snapshot=None,
                    page=None,
                    figures=figures,
                ),
            )
