"""How useful strategies are."""

from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from datetime import datetime, timedelta

from adwarm.foundation.cron import find_latest, list_next
from adwarm.foundation.errors import BadRequest
from adwarm.foundation.wording import format_count
from adwarm.model import ReportKey, StoredStrategy, Strategy
from adwarm.model.strategy import USE_PERIOD
from adwarm.planning.store_view import StoreView
from adwarm.planning.strategy_schedule import expand_keys, get_closing_time, load_strategies
from adwarm.planning.warm_outcomes import find_used_strategies
from adwarm.store import Context, aggregates, read_transaction, strategy_warms, write_transaction
from adwarm.store.strategies import record_check
from adwarm.store.strategy_warms import StrategyUsage

MIN_WASTED = 20
"""Fewer wasted warms than this say nothing about a strategy."""
_NO_ACCOUNT = "none of its accounts is active"
_NOT_OPENED = f"nobody opened any of its reports in the last {USE_PERIOD.days} days"
_MAX_LOG_AGE = timedelta(days=3)
_CHECK_EVERY = timedelta(days=1)
_ADVICE = "set `enabled = false`, or `retire_unused = true`, with `adwarm strategy set --file`"


@dataclass(frozen=True, slots=True)
class Coverage:
    """How many of a strategy's keys are fresh now.

    Attributes:
        oldest_at: when the oldest of those entries was fetched; None when there is none.
    """

    keys: int
    fresh: int
    oldest_at: datetime | None


@dataclass(frozen=True, slots=True)
class StrategyReport:
    """One strategy as users see it.

    Attributes:
        usage: its fetched warms of the last 30 days; None when there are none.
        coverage: how many of its keys are fresh; None when its row is not valid, or they were not counted.
        next_run: when the schedule plans it next, UTC; None when it does not.
        unused: why it counts as unused; None when it does not.
    """

    stored: StoredStrategy
    usage: StrategyUsage | None
    coverage: Coverage | None
    next_run: datetime | None
    unused: str | None

    @property
    def status(self) -> str:
        """`enabled`, `disabled`, `retired` or `invalid`."""
        if self.stored.strategy is None:
            return "invalid"
        if self.stored.enabled:
            return "enabled"
        return "retired" if self.stored.state.retired_at else "disabled"

    @property
    def about(self) -> str | None:
        """What a strategy does that nobody has to create, and what it costs; None for the others."""
        strategy = self.stored.strategy
        if strategy is None or not (strategy.opened_only and self.stored.enabled):
            return None
        calls = format_count(self.usage.calls if self.usage else 0, "call")
        end = "retires itself once nobody uses it" if strategy.retire_unused else "stays until it is disabled"
        period = f"the last {USE_PERIOD.days} days"
        return f"it runs, and warms only what somebody opened in {period}, with {calls} in that time; it {end}"

    @property
    def note(self) -> str | None:
        """What a user should know: a problem, that it was retired, or that nobody uses it; None when all is well."""
        retired = self.stored.state.retired_why if self.status == "retired" else None
        strategy = self.stored.strategy
        nothing = _NOT_OPENED if strategy is not None and strategy.opened_only else _NO_ACCOUNT
        empty = nothing if self.coverage is not None and not self.coverage.keys else None
        return self.stored.problem or retired or self.unused or empty


def report_strategies(context: Context, at: datetime, *, is_brief: bool = False) -> list[StrategyReport]:
    """Return every strategy as of `at`, sorted by name; a new database gets the default strategies first.

    Args:
        is_brief: leave out the fresh keys and the number of runs, which take seconds for 100,000 keys.
    """
    stored = load_strategies(context.engine, at)
    view = StoreView(context, at) if not is_brief else None
    log = _LogState.read(context, at)
    until = at + timedelta(microseconds=1)
    usage = strategy_warms.get_usage(context.engine, at - USE_PERIOD, until, with_runs=not is_brief)
    unused = _find_unused(context, stored, usage, log, at)
    unused |= _find_unopened(view, stored, log, at) if view is not None else {}
    return [
        StrategyReport(
            item,
            usage.get(item.name),
            _get_coverage(view, item.strategy, at) if view is not None else None,
            get_next_run(item, at),
            unused.get(item.name),
        )
        for item in stored
    ]


def get_next_run(stored: StoredStrategy, at: datetime) -> datetime | None:
    """Return when the strategy is planned next: `at` when it is due, else its next occurrence, or None.

    Before that comes the time at which it is to be planned again for the latest due time.
    """
    strategy, planned, recheck = stored.strategy, stored.state.planned_slot, stored.state.recheck_at
    if strategy is None or not stored.enabled:
        return None
    if planned is None or find_latest(strategy.cron, strategy.time_zone, at) > planned:
        return at
    following = list_next(strategy.cron, strategy.time_zone, at)[0]
    if recheck is None or max(recheck, at) >= get_closing_time(strategy, planned):
        return following
    return min(max(recheck, at), following)


def check_unused(context: Context, at: datetime) -> dict[str, str]:
    """Check once a day for each enabled strategy whether anybody uses its warms, and retire those that may be retired.

    Returns:
        By name of an unused strategy that was checked now, what to log.
    """
    due = [item for item in load_strategies(context.engine, at) if item.enabled and _is_check_due(item, at)]
    if not due:
        return {}
    log = _LogState.read(context, at)
    usage = strategy_warms.get_usage(context.engine, at - USE_PERIOD, at, with_runs=False)
    unused = _find_unused(context, due, usage, log, at) | _find_unopened(StoreView(context, at), due, log, at)
    lines = {}
    with write_transaction(context.engine) as connection:
        for item in due:
            why = unused.get(item.name)
            retired = why if item.strategy is not None and item.strategy.retire_unused else None
            record_check(connection, item.name, at, retired)
            if why:
                lines[item.name] = f"{why}; it is disabled now" if retired else f"{why}; {_ADVICE}"
    return lines


@dataclass(frozen=True, slots=True)
class _LogState:
    """Whether the access log says anything about the use of warms."""

    is_current: bool  # read to within three days
    opens: int  # of the last 30 days

    @classmethod
    def read(cls, context: Context, at: datetime) -> "_LogState":
        """Read the state of the log at `at`."""
        end = aggregates.find_log_end(context.engine)
        with read_transaction(context.engine) as connection:
            hours = aggregates.list_hours(connection, at - USE_PERIOD, at)
        return cls(end is not None and end >= at - _MAX_LOG_AGE, sum(hour.opens for hour in hours))


def _is_check_due(stored: StoredStrategy, at: datetime) -> bool:
    return stored.state.checked_at is None or stored.state.checked_at <= at - _CHECK_EVERY


def _find_unused(
    context: Context, items: Sequence[StoredStrategy], usage: Mapping[str, StrategyUsage], log: _LogState, at: datetime
) -> dict[str, str]:
    """Return by name why a strategy counts as unused; those that are used, or hardly recorded, are left out."""
    names = [item.name for item in items if _is_wasted(item, usage.get(item.name), log, at)]
    if not names:
        return {}
    # The first warm of the period may come some time after its start; an older one shows that it is not new.
    older = strategy_warms.list_fetching(context.engine, names, at - 2 * USE_PERIOD, at - USE_PERIOD + _CHECK_EVERY)
    older -= find_used_strategies(context, at)  # what is opened counts as used only when it ends
    return {name: _describe_waste(usage[name]) for name in names if name in older}


def _find_unopened(view: StoreView, items: Sequence[StoredStrategy], log: _LogState, at: datetime) -> dict[str, str]:
    """Return by name why a strategy that warms only what was opened has had nothing to warm for the whole period."""
    unopened = {}
    for item in items:
        strategy = item.strategy
        if strategy is None or not (strategy.opened_only and log.is_current and _is_enabled_long(item, at)):
            continue
        with suppress(BadRequest):  # the next run records it as the strategy's problem
            if not expand_keys(strategy, view):
                unopened[item.name] = _NOT_OPENED
    return unopened


def _is_enabled_long(stored: StoredStrategy, at: datetime) -> bool:
    return stored.state.enabled_at is None or stored.state.enabled_at <= at - USE_PERIOD


def _is_wasted(stored: StoredStrategy, usage: StrategyUsage | None, log: _LogState, at: datetime) -> bool:
    """Whether nothing that the strategy warmed in the period was used, as far as the log tells."""
    is_proven = usage is not None and not usage.used and usage.wasted >= MIN_WASTED and log.is_current and log.opens
    return bool(is_proven) and _is_enabled_long(stored, at)


def _describe_waste(usage: StrategyUsage) -> str:
    return (
        f"nobody opened what it warmed in the last {USE_PERIOD.days} days: {usage.wasted:,} warms "
        f"({usage.calls:,} upstream calls) expired unopened"
    )


def _get_coverage(view: StoreView, strategy: Strategy | None, at: datetime) -> Coverage | None:
    if strategy is None:
        return None
    keys: list[ReportKey] = []
    try:
        keys = expand_keys(strategy, view)
        lifetimes = view.get_lifetimes(keys, [at] * len(keys))
    except BadRequest:  # the next run records it as the strategy's problem
        return Coverage(len(keys), 0, None)
    fresh: Sequence[datetime] = [item.fetched_at for item in lifetimes if item is not None and item.expires_at > at]
    return Coverage(len(keys), len(fresh), min(fresh, default=None))
