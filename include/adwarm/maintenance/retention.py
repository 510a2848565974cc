"""Deletes what is past its retention: one rule for each table that grows, and for files of the open log.

A rule deletes in small transactions. A run that is out of time goes on with the same rule next time. Objects that the
deleted rows referred to are deleted by garbage collection.
"""

from collections.abc import Callable, Iterator, Mapping
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import ColumnElement

from adwarm.backpressure import RequestQueue
from adwarm.foundation.clock import Clock, utc
from adwarm.maintenance.runner import Step, StepBudget, StepResult
from adwarm.planning.strategy_schedule import DEFAULT_STRATEGIES
from adwarm.store import Context, alerts, quarantine, retention, snapshots
from adwarm.store.action_events import HEALING
from adwarm.store.database import BATCH_ROWS
from adwarm.store.error_events import ErrorLog
from adwarm.store.gates import SqlGates
from adwarm.store.open_files import OpenFiles
from adwarm.store.tables import metadata

Rule = Callable[[], Iterator[int]]
"""Deletes batch by batch, and yields how many rows or files each batch deleted."""
_LEASE_DAYS = 30
"""A released lease has no use but its token, which the row `(floor)` keeps; a month of them explains a fetch."""


def make_apply_retention(context: Context, queue: RequestQueue, clock: Clock) -> Step:
    """Return the step `apply_retention`.

    Args:
        context: database, objects and settings, which say how long each table keeps its rows.
    """

    def step(cursor: Any, budget: StepBudget) -> StepResult:
        rules = build_rules(context, queue, clock.now())
        names = list(rules)
        start = names.index(cursor) if cursor in rules else 0
        result = StepResult()
        for name in names[start:]:
            for count in rules[name]():
                result.counts[name] = result.counts.get(name, 0) + count
                if count and budget.is_used_up:  # a rule that finds nothing more never holds up the next one
                    result.cursor = name
                    return result
        return result

    return step


def build_rules(context: Context, queue: RequestQueue, now: datetime) -> Mapping[str, Rule]:
    """Return the rule of each table that grows, by its name, in the order in which they are applied."""
    engine, keep = context.engine, context.settings.retention
    aggregate_days = max(keep.aggregate_days, context.settings.forecast.history_days)
    before = now - timedelta(days=keep.history_days)
    defaults = {item.name for item in DEFAULT_STRATEGIES}
    columns = {name: table.c for name, table in metadata.tables.items()}
    versions, actions = columns["report_version"], columns["action_event"]

    def older(column: ColumnElement[Any], days: float, condition: ColumnElement[bool] | None = None) -> Rule:
        return lambda: retention.delete_older(engine, column, timedelta(days=days), now, condition)

    return {
        "warm": older(columns["warm"].decided_at, keep.history_days),
        "warming_job": older(columns["warming_job"].started_at, keep.history_days),
        "traffic_hour": older(columns["traffic_hour"].hour, keep.traffic_days),
        "amount": older(columns["amount"].since, keep.traffic_days),
        "error_event": lambda: iter([ErrorLog(engine, keep).prune(now)]),
        "fatigue_score": older(columns["fatigue_score"].as_of, keep.score_days),
        "fatigue_day": older(columns["fatigue_day"].as_of, keep.score_days),
        "fatigue_prior": older(columns["fatigue_prior"].month, keep.score_days),
        "ad_creative": older(columns["ad_creative"].read_at, keep.score_days),
        "request": lambda: _repeat(queue.delete_old, BATCH_ROWS),
        "lease": lambda: retention.delete_leases(engine, timedelta(days=_LEASE_DAYS)),
        "capacity_grant": lambda: retention.delete_grants(engine),
        "policy_review": older(columns["policy_review"].at, keep.action_days),
        "forecast_snapshot": lambda: iter([snapshots.delete_unused(engine, before)]),
        "access_aggregate": older(columns["access_aggregate"].hour, aggregate_days),
        "partition": lambda: retention.delete_partitions(engine, timedelta(days=keep.partition_days), now),
        "healing": older(actions.at, keep.history_days, actions.via == HEALING),
        "alert": lambda: iter([alerts.delete_resolved(engine, before)]),
        "quarantined_item": lambda: iter([quarantine.delete_before(context, before)]),
        "reconciliation": older(columns["reconciliation"].at, keep.history_days),
        "strategy_state": lambda: retention.delete_removed_strategies(engine, before, defaults),
        "page_session": older(columns["page_session"].expires_at, 1),
        "action_event": older(actions.at, keep.action_days, actions.via != HEALING),
        "data_arrival": older(columns["data_arrival"].arrived_at, keep.action_days),
        "report_version": older(versions.since, keep.action_days, versions.state == "retired"),
        "capacity_sample": older(columns["capacity_sample"].at, keep.history_days),
        "gate": lambda: iter([SqlGates(engine).delete_ended(now.timestamp())]),
        "open_log_files": lambda: iter([prune_open_log(context, now)]),
    }


def _repeat(delete: Callable[[], int], batch: int) -> Iterator[int]:
    while True:
        count = delete()
        yield count
        if count < batch:
            return


def prune_open_log(context: Context, now: datetime) -> int:
    """Delete the open log's days that ended more than `retention.traffic_days` ago; return how many files that were.

    What was learned from them stays in the aggregates.
    """
    files = OpenFiles(context.settings.data)
    oldest = (utc(now) - timedelta(days=context.settings.retention.traffic_days)).date()
    return sum(files.delete_day(day) for day in files.list_days(until=oldest - timedelta(days=1)))
