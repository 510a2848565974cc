"""Reads what is recorded about a key at a moment, and explains why it was or was not warm then. Writes nothing.

What the forecast said about the key at a decision, past or to come, is computed again.
"""

import threading
from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from typing import Final

import numpy as np
import pandas as pd
from cachetools import LRUCache
from sqlalchemy import Connection

from adwarm.access_log.events import date_range_reader
from adwarm.forecast.protocol import Forecast, data_cutoff_at
from adwarm.forecast.snapshot import read_snapshot
from adwarm.foundation.arrow_arrays import Bools
from adwarm.foundation.clock import floor_to, utc
from adwarm.foundation.cron import find_latest
from adwarm.foundation.errors import BadRequest, Corrupt, NotFound
from adwarm.foundation.gate import Rule, to_datetime
from adwarm.foundation.wording import format_utc
from adwarm.model import (
    Account,
    EntryKey,
    QuerySpec,
    ReportKey,
    Snapshot,
    StoredStrategy,
    Warm,
    expires_at,
    normalize_account_id,
    resolve_key,
    resolve_window,
)
from adwarm.model.strategy import USE_PERIOD
from adwarm.patterns.open_history import list_opened_keys, load_opens
from adwarm.planning.decide import LIVE_DAG, get_recent_opens, get_timing
from adwarm.planning.key_decision import decide_key
from adwarm.planning.moments import read_moment
from adwarm.planning.plan import LOOKAHEAD
from adwarm.planning.rule_sentences import explain_facts
from adwarm.planning.store_view import NEVER, StoreView, find_range_change, useful_until
from adwarm.planning.why_not_warm import Explanation, ForecastState, FreshSpan, KeyFacts, RunState, StrategyState
from adwarm.store import Context, accounts, entry_versions, key_history, read_transaction
from adwarm.store.entries import Entry
from adwarm.store.error_events import ErrorFilter, ErrorLog
from adwarm.store.snapshots import NO_FORECAST
from adwarm.store.strategies import list_strategies
from adwarm.store.switches import to_switches

LONGEST_AHEAD: Final = timedelta(days=7)
"""How far in the future a moment may lie."""
_NOW_PERIOD: Final = timedelta(minutes=5)
_TICK: Final = timedelta(microseconds=1)
_SEVERAL_RUNS: Final = 2.5
"""A run that is this many steps old at the moment means that later ones are missing."""
_MOST_ERRORS: Final = 20
_MOST_KEPT: Final = 64
_EVERY_HOUR: Final = -1.0
"""Floor of probabilities that leaves out no hour."""


class KeyForecasts:
    """What forecasts said about accounts. Safe for several threads.

    With many keys it takes seconds to compute the probabilities of an account at a decision, because a forecast also
    weighs how busy all readers are; those asked for last are kept.
    """

    def __init__(self, context: Context) -> None:
        self._context = context
        self._lock = threading.Lock()
        self._frames: LRUCache[object, pd.DataFrame] = LRUCache(_MOST_KEPT)

    def load(self, key: ReportKey, decided_at: datetime, now: datetime, spans: Sequence[FreshSpan]) -> ForecastState:
        """Return what the forecast that was live at a decision said about a key then.

        Args:
            spans: when an entry answered the key.
        """
        context = self._context
        with read_transaction(context.engine) as connection:
            snapshot, is_assumed = key_history.find_snapshot_at(connection, min(decided_at, now))
        if snapshot is None:
            return ForecastState(problem=_describe_absence(is_assumed=is_assumed))
        try:
            every_hour = self._get_frame(snapshot, key.account_id, decided_at, is_past=decided_at <= now)
        except (NotFound, Corrupt) as error:
            return ForecastState(problem=f"the forecast {snapshot.id[:12]} cannot be read: {error}")
        view = _PastView(context, decided_at, key, spans)
        decision = decide_key(key, get_timing(context, decided_at), every_hour, view, context.settings.planning)
        known_until = data_cutoff_at(decided_at, context.settings)
        return ForecastState(decision, "", snapshot, is_assumed=is_assumed, known_until=known_until)

    def _get_frame(self, snapshot: Snapshot, account_id: str, decided_at: datetime, *, is_past: bool) -> pd.DataFrame:
        """Return the probabilities of an account, every hour of each key; what is to come may change until then."""
        name = (snapshot.id, account_id, decided_at)
        with self._lock:
            frame = self._frames.get(name)
        if frame is None:
            frame = self._predict(read_snapshot(self._context, snapshot), account_id, decided_at)
        if is_past:
            with self._lock:
                self._frames[name] = frame
        return frame

    def _predict(self, forecast: Forecast, account_id: str, decided_at: datetime) -> pd.DataFrame:
        selected: Bools = np.asarray(forecast.keys["account_id"].to_numpy(dtype=object) == account_id, np.bool_)
        if not selected.any():
            return forecast.keys.iloc[:0].assign(probability=0.0)
        focused = forecast.focus(account_id)
        recent = get_recent_opens(self._context, forecast, decided_at)
        opens = recent.opens if recent else load_opens(self._context, decided_at, decided_at)
        cutoff = recent.until if recent else decided_at
        [chances] = focused.predict_series([decided_at], LOOKAHEAD, opens, [cutoff])
        return focused.to_frame(chances, floor=_EVERY_HOUR, selected=selected)


class _PastView(StoreView):
    """The store as it was at a decision, as far as that is recorded."""

    # Entries and days that were fetched later are left out; when the entry of the key itself was fresh is known better.

    def __init__(self, context: Context, at: datetime, key: ReportKey, spans: Sequence[FreshSpan]) -> None:
        super().__init__(context, at, known_at=at)
        self._at = at
        self._key = key
        self._spans = spans

    def get_fresh_until(self, keys: Sequence[ReportKey], moments: Sequence[datetime]) -> list[datetime | None]:
        """Return until when the entry stored for each key at its moment is fresh; None when nothing is stored."""
        ends = super().get_fresh_until(keys, moments)
        return [
            self._find_end(moment) or end if key == self._key else end
            for key, moment, end in zip(keys, moments, ends, strict=True)
        ]

    def _find_end(self, moment: datetime) -> datetime | None:
        """Return until when an entry was fresh at `moment` that had been fetched by the decision."""
        spans = (span for span in self._spans if span.fetched_at <= self._at and span.covers(moment))
        return next((span.until for span in spans), None)


def _describe_absence(*, is_assumed: bool) -> str:
    if is_assumed:
        return "no forecast of that time is stored any more; ADWARM_RETENTION__HISTORY_DAYS keeps unused ones longer"
    return NO_FORECAST


@dataclass(frozen=True, slots=True)
class _Question:
    """A key at a moment, with what it resolves to."""

    key: ReportKey
    at: datetime
    now: datetime
    account: Account
    resolved: EntryKey


class KeyExplainer:
    """Explains why keys were or were not warm. Safe for several threads."""

    def __init__(self, context: Context) -> None:
        self._context = context
        self._forecasts = KeyForecasts(context)

    def read_key(self, account: str, date_range: str, report: str) -> ReportKey:
        """Return the key that a person means; a date range may be written as in a log, such as `Last 7 days`.

        Raises:
            BadRequest: a part is not valid.
        """
        read = date_range_reader(self._context.settings.access_log.date_ranges)
        return ReportKey.parse(accounts.find_id(self._context, account), read(date_range), report)

    def read_moment(self, account_id: str, text: str, now: datetime) -> datetime:
        """Return the moment in a text, in the zone of the account's readers unless it names an offset."""
        stored = accounts.get(self._context.engine, account_id)
        return read_moment(text, stored.reader_zone if stored else self._context.settings.default_zone, now)

    def explain(self, key: ReportKey, at: datetime, now: datetime) -> Explanation:
        """Return why a key was, or was not, warm at a moment, or whether it will be.

        Args:
            at: the moment, UTC: in the past, now, or up to `LONGEST_AHEAD` ahead.

        Raises:
            BadRequest: the moment is too far ahead.
        """
        at, now = utc(at), utc(now)
        if at > now + LONGEST_AHEAD:
            days = LONGEST_AHEAD.days
            raise BadRequest(f"{at:%Y-%m-%d %H:%M} UTC is more than {days} days ahead; ask for an earlier moment")
        facts = self._load_records(key, at, now)
        if facts.span is not None or facts.row is not None or facts.run is None or facts.run.is_missed:
            return explain_facts(facts)
        forecast = self._forecasts.load(key, facts.run.decided_at, now, facts.spans)
        return explain_facts(replace(facts, forecast=forecast))

    def _load_records(self, key: ReportKey, at: datetime, now: datetime) -> KeyFacts:
        """Return what the database holds about a key at a moment."""
        engine, settings, strategies = self._context.engine, self._context.settings, self._list_strategies(key, at)
        stored = accounts.get(engine, key.account_id)
        account = stored or Account(key.account_id, settings.default_zone, settings.default_zone)
        spec, problem = self._find_spec(key.report)
        question = _Question(key, at, now, account, resolve_key(key, account, spec, at))
        with read_transaction(engine) as connection:
            warms = key_history.list_warms_around(connection, key, at, min(at, now) + _TICK)
            row = self._find_plan_row(warms, question)
            entry = key_history.find_entry(connection, question.resolved)
            gates = key_history.list_gates(connection, key.account_id)
            facts = KeyFacts(
                key=key,
                at=at,
                now=now,
                account=stored,
                denied_at=next((to_datetime(item.since) for item in gates if item.rule is Rule.DENIAL), None),
                report_problem=problem,
                switches=tuple(to_switches(gates).values()),
                entry=entry,
                spans=self._find_spans(connection, question, warms, entry),
                row=row,
                strategies=strategies,
                warms_from=now - timedelta(days=settings.retention.history_days),
                run=None if row else self._find_run(connection, question, warms),
                min_confidence=settings.planning.min_confidence,
                open_value=settings.planning.open_value,
            )
            if row is None or str(row.status) in {"cut", "shadow"}:
                return facts
            is_now, since, until = abs(at - now) <= _NOW_PERIOD, row.decided_at, at + _TICK
            obstacles = key_history.list_obstacles(connection, since, until, with_breakers=is_now)
        events = ErrorFilter(account_id=key.account_id, since=since, until=until)
        errors = ErrorLog(engine).list_recent(_MOST_ERRORS, events)
        return replace(facts, errors=tuple(reversed(errors)), obstacles=tuple(obstacles))

    def _list_strategies(self, key: ReportKey, at: datetime) -> tuple[StrategyState, ...]:
        """Return whether each strategy keeps a key warm; what was opened is read only where that decides."""
        with read_transaction(self._context.engine) as connection:
            stored = list_strategies(connection)
        was_opened = True
        if any(item.strategy is not None and item.strategy.opened_only for item in stored):
            since = at - USE_PERIOD
            was_opened = key in list_opened_keys(self._context, since, at, (key.date_range,), key.report)
        return tuple(_describe_strategy(item, key, at, was_opened=was_opened) for item in stored)

    def _find_spec(self, report: str) -> tuple[QuerySpec, str]:
        """Return the query of a report, and why there is none; then the query is that of no entry."""
        try:
            return self._context.settings.spec(report), ""
        except BadRequest as error:
            return QuerySpec(level="none"), str(error)

    def _find_spans(
        self,
        connection: Connection,
        question: _Question,
        warms: Sequence[Warm],
        entry: Entry | None,
    ) -> tuple[FreshSpan, ...]:
        """Return when an entry answered the key, newest first: by fetches, published versions and the entry."""
        key, account, resolved = question.key, question.account, question.resolved
        arrivals = key_history.list_arrivals(connection, resolved, question.at)
        spans: dict[datetime, FreshSpan] = {}
        for moment in entry_versions.list_moments(connection, resolved):
            end = expires_at(resolved.window, account.data_zone, moment, self._context.settings.freshness_rules)
            spans[moment] = FreshSpan(moment, end, "an earlier entry")
        for warm in warms:
            fetched = warm.fetched_at
            if fetched is None or str(warm.status) == "stale" or not _answers(warm, question):
                continue
            change = find_range_change(key, account, fetched, warm.expires_at or NEVER)
            end = change or warm.expires_at
            restated = next((arrival for arrival in arrivals if arrival > fetched), None)
            spans[fetched] = FreshSpan(fetched, end, f"the run {warm.run_id}", restated)
        if entry is not None and not entry.degraded:
            stored = max((at for at in spans if at >= entry.fetched_at), default=entry.fetched_at)
            earlier = spans.get(stored)  # its newest day may have been fetched before the entry was stored
            origin = earlier.origin if earlier else "the stored entry"
            spans[stored] = FreshSpan(stored, entry.expires_at, origin)
        return tuple(span for _, span in sorted(spans.items(), reverse=True))

    def _find_plan_row(self, warms: Sequence[Warm], question: _Question) -> Warm | None:
        """Return the newest row of the key's plans whose warm would have answered it at the moment."""
        rules = self._context.settings.freshness_rules
        for warm in warms:
            is_done = str(warm.status) == "fresh" or (warm.fetched_at is not None and warm.fetched_at <= question.at)
            if warm.key != question.key or (is_done and str(warm.status) != "stale"):
                continue
            due = warm.warm_at or warm.decided_at
            if useful_until(warm.key, question.account, due, rules) > question.at:
                return warm
        return None

    def _find_run(self, connection: Connection, question: _Question, warms: Sequence[Warm]) -> RunState | None:
        """Return the run whose decision belongs to a moment; for one to come, the last decision before it."""
        # A run that has a job has stored its plan: a task makes both, in this order.
        at, now, step = question.at, question.now, self._context.settings.step
        if at > now and floor_to(at, step) > now:
            return RunState(floor_to(at, step))
        job = key_history.find_run_before(connection, LIVE_DAG, at)
        if job is None:
            return None
        decided_at = key_history.find_decision_time(connection, job.run_id) or floor_to(job.started_at, step)
        upcoming = floor_to(now, step) + step
        row = next((warm for warm in warms if warm.run_id == job.run_id and warm.key == question.key), None)
        return RunState(
            decided_at=decided_at,
            run_id=job.run_id,
            started_at=job.started_at,
            is_missed=at - job.started_at > _SEVERAL_RUNS * step,
            next_at=upcoming if now - at < step else None,
            row=row,
        )


def _answers(warm: Warm, question: _Question) -> bool:
    """Whether a fetch answers the key: its own, or one of another date range that covered the same days."""
    if warm.key == question.key:
        return True
    window = resolve_window(warm.key.date_range, question.account.data_zone, warm.fetched_at or warm.decided_at)
    return window == question.resolved.window


def _describe_strategy(stored: StoredStrategy, key: ReportKey, at: datetime, *, was_opened: bool) -> StrategyState:
    """Return whether a strategy keeps a key warm, and why not."""
    strategy = stored.strategy
    if strategy is None:
        return StrategyState(stored.name, f"is not valid: {stored.problem}", "")
    due = find_latest(strategy.cron, strategy.time_zone, at)
    own = {key.account_id}
    excluded = {normalize_account_id(name, own) for name in strategy.excluded_accounts}
    named = None if strategy.accounts is None else {normalize_account_id(name, own) for name in strategy.accounts}
    reasons = {
        "is disabled": not stored.enabled,
        f"warms the report {strategy.report!r}": strategy.report != key.report,
        f"warms {', '.join(strategy.date_ranges)}": key.date_range not in strategy.date_ranges,
        "excludes the account": key.account_id in excluded,
        "names other accounts": named is not None and key.account_id not in named,
        "warms only what was opened in the 30 days before": strategy.opened_only and not was_opened,
    }
    why = next((reason for reason, applies in reasons.items() if applies), "")
    last_due = f", last due at {format_utc(due)}" if due else ""
    return StrategyState(stored.name, why, f"due {strategy.cron} ({strategy.time_zone}){last_due}")
