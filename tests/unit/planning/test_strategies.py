"""Strategies: their keys, and the stored plan, each within its own budget and in the order of their turn."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import orjson
import pytest

from adwarm.foundation.clock import floor_to
from adwarm.foundation.errors import BadRequest
from adwarm.model import Account, Priority, ReportKey, Strategy, Warm, WarmReason, WarmResult, WarmStatus
from adwarm.patterns.ingest.run import ingest
from adwarm.planning.strategies import StrategyPlanSummary, decide_strategies, expand_keys, recommend_strategy
from adwarm.planning.strategy_schedule import DEFAULT_STRATEGIES, StrategySelection, load_strategies, select_due
from adwarm.prefetch import KeyRequest
from adwarm.settings import AccessLogSettings
from adwarm.store import accounts, aggregates, jobs, warms, write_transaction
from adwarm.store.aggregates import HourAggregate
from adwarm.store.strategies import remove_strategy, save_strategy
from tests.unit.conftest import NOW, PrefetchHarness, finish_warms

OPENED = {ReportKey("act_2", "yesterday"), ReportKey("act_1", "last_7d"), ReportKey("act_3", "last_7d")}


class View:
    """Knows three accounts, of which one is denied, and three reports that were opened."""

    def list_accounts(self) -> list[Account]:
        """Return the accounts."""
        return [Account("act_2"), Account("act_1"), Account("act_3", status="denied")]

    def list_opened(self, date_ranges: tuple[str, ...], report: str) -> set[ReportKey]:
        """Return what was opened."""
        return {key for key in OPENED if key.date_range in date_ranges and key.report == report}


KNOWN: Any = View()


def test_the_default_covers_what_people_open_of_the_usual_dashboard() -> None:
    """A new installation keeps what was opened of three ranges warm, at low priority; who names reports gets them."""
    (strategy,) = DEFAULT_STRATEGIES
    pace = (strategy.batch_size, strategy.delay_seconds, strategy.max_calls_per_hour, strategy.cron)
    assert (strategy.urgency, *pace) == (Priority.LOW, 5, 5.0, 100, "0 */6 * * *")
    assert expand_keys(strategy, KNOWN) == [ReportKey("act_1", "last_7d"), ReportKey("act_2", "yesterday")]
    assert (strategy.retire_unused, strategy.opened_only) == (True, True)
    assert expand_keys(replace(strategy, opened_only=False), KNOWN) == [
        ReportKey(account, name) for account in ("act_1", "act_2") for name in ("yesterday", "last_7d", "last_30d")
    ]


def test_includes_and_excludes() -> None:
    """Named accounts are accepted in any spelling, stored or not; excluded and denied ones are left out."""
    strategy = Strategy("s", ("today", "today"), accounts=("9", "act_1", "act_3"), excluded_accounts=("1",))
    assert expand_keys(strategy, KNOWN) == [ReportKey("act_9", "today")]
    assert expand_keys(Strategy("s", ("today",), excluded_accounts=("act_1",)), KNOWN) == [ReportKey("act_2", "today")]


def test_invalid_values_are_refused(subtests: pytest.Subtests) -> None:
    """Each invalid value is refused with the reason."""
    for values, message in [
        ({"accounts": ("act/x",)}, "account id 'act/x' is not valid"),
        ({"excluded_accounts": ("act_1; drop",)}, "is not valid"),
        ({"accounts": ("act_1",), "excluded_accounts": ("act_1",)}, "names no account"),
        ({"accounts": ()}, "names no account"),
        ({"date_ranges": ("next_week",)}, "next_week"),
        ({"date_ranges": ()}, "names no date range"),
        ({"batch_size": 0}, "batch_size must be at least 1"),
        ({"delay_seconds": -1.0}, "delay_seconds"),
        ({"delay_seconds": 10_000.0}, "at most 3,600"),
        ({"batch_size": "many"}, "batch_size"),
        ({"priority": "urgent"}, "critical, high, normal, low"),
        ({"cron": "0 7 * *"}, "five fields"),
        ({"time_zone": "Europe/Belin"}, "IANA"),
        ({"name": " s"}, "name"),
        ({"report": "No Such"}, "report"),
    ]:
        with subtests.test(values=values, message=message), pytest.raises(BadRequest, match=message):
            Strategy(**{"name": "s", "date_ranges": ("today",), **values})


def test_medium_is_another_word_for_normal() -> None:
    """Both names of the priority are accepted."""
    assert Strategy("s", ("today",), priority="Medium").urgency is Priority.NORMAL


def test_recommendations_of_a_strategy() -> None:
    """Each key is due at once, with the strategy's priority and name."""
    strategy = Strategy("mornings", ("today",), priority="high")
    result = recommend_strategy(strategy, expand_keys(strategy, KNOWN), NOW)
    assert [(item.key.account_id, item.warm_at, item.priority, item.reason) for item in result] == [
        (account, NOW, Priority.HIGH, WarmReason.STRATEGY) for account in ("act_1", "act_2")
    ]
    assert "mornings" in result[0].explanation["why"]


RUN = "adwarm_strategy_warming/r1"
PAIR = Strategy("pair", ("yesterday", "last_7d"), accounts=("act_1", "act_2"))


@pytest.fixture(autouse=True)
def stored_accounts(harness: PrefetchHarness) -> None:
    """Accounts with the zone that the upstream reports, so that a fetch takes no look-up."""
    accounts.save(harness.engine, [Account(f"act_{number}") for number in range(1, 7)], NOW)


def _decide(harness: PrefetchHarness, *strategies: Strategy, run_id: str = RUN, **kwargs: Any) -> StrategyPlanSummary:
    selection = StrategySelection(list(strategies), kwargs.pop("problems", {}))
    return decide_strategies(harness.prefetch.context, selection, harness.clock.now(), run_id, **kwargs)


def _open(harness: PrefetchHarness, folder: Path, *opens: tuple[datetime, str, str]) -> None:
    """Read a log with these opens: time, account and actor."""
    names = ("ts", "account_id", "actor")
    lines = [orjson.dumps({**dict(zip(names, each, strict=True)), "date_range": "last_7d"}) for each in opens]
    (folder / "log.jsonl").write_bytes(b"\n".join(lines))
    context = harness.prefetch.context
    settings = context.settings.model_copy(update={"access_log": AccessLogSettings(url=str(folder / "log.jsonl"))})
    ingest(replace(context, settings=settings), NOW, window=(NOW - timedelta(days=60), NOW))


def test_nobody_opened_it_so_it_is_not_warmed(harness: PrefetchHarness, tmp_path: Path) -> None:
    """The default plans what people opened in the last 30 days, and nothing before there is a log."""
    default = DEFAULT_STRATEGIES[0]
    assert _decide(harness, default).total("planned") == 0
    recent, old = NOW - timedelta(days=29), NOW - timedelta(days=31)
    _open(harness, tmp_path, (recent, "act_1", "human"), (old, "act_2", "human"), (recent, "act_3", "api"))
    assert _decide(harness, default).total("planned") == 1
    assert [row.key for row in _rows(harness)] == [ReportKey("act_1", "last_7d")]
    named = replace(default, accounts=("act_2",), opened_only=False)
    assert _decide(harness, named, run_id=f"{RUN}2").total("planned") == 3


def test_a_lost_day_of_the_log_is_the_problem_of_that_strategy(harness: PrefetchHarness) -> None:
    """A strategy that has to know what was opened says so, and the others are planned."""
    with write_transaction(harness.engine) as connection:
        hour = HourAggregate(NOW - timedelta(hours=2), "a" * 64, 1, 1)
        aggregates.replace_hours(connection, hour.hour, NOW, [hour], NOW)
    summary = _decide(harness, DEFAULT_STRATEGIES[0], PAIR)
    assert (list(summary.strategies), list(summary.problems)) == (["pair"], ["default_dashboards"])
    assert "what was opened lately cannot be read" in summary.problems["default_dashboards"]


def _rows(harness: PrefetchHarness, status: str = "planned", run_id: str = RUN) -> list[Warm]:
    return [row for row in warms.list_by_run(harness.engine, run_id) if row.status == status]


def _finish(harness: PrefetchHarness, run_id: str, rows: list[Warm], calls: int, status: WarmStatus) -> None:
    at: datetime | None = harness.clock.now() if status is WarmStatus.FETCHED else None
    results = [WarmResult(warm_id=row.id, status=status, fetched_at=at, requests=calls) for row in rows]
    finish_warms(harness.engine, run_id, results, 0, [])


def test_fresh_keys_are_left_out(harness: PrefetchHarness) -> None:
    """A fresh key is counted and not planned; a rerun stores the same plan once."""
    harness.prefetch.run([KeyRequest(ReportKey("act_1", "yesterday"))], Priority.LOW)
    first, second = _decide(harness, PAIR), _decide(harness, PAIR)
    assert first == second
    assert first.strategies == {"pair": {"planned": 3, "fresh": 1, "cut": 0, "in_flight": 0, "tried": 0, "tasks": 1}}
    rows = warms.list_by_run(harness.engine, RUN)
    assert {(row.key.account_id, row.key.date_range, row.reason, row.strategy) for row in rows} == {
        ("act_1", "last_7d", "strategy", "pair"),
        ("act_2", "last_7d", "strategy", "pair"),
        ("act_2", "yesterday", "strategy", "pair"),
    }
    assert first.to_dict()["examples"]


def test_two_strategies_plan_a_key_once(harness: PrefetchHarness) -> None:
    """A key of both belongs to the first, with its priority, pace and budget."""
    urgent = Strategy("urgent", ("yesterday",), priority="high", accounts=("act_1",), batch_size=1, delay_seconds=0)
    summary = _decide(harness, urgent, PAIR)
    assert (
        summary.total("planned"),
        [(task.batch, task.slice_size, task.pause_seconds) for task in summary.tasks],
    ) == (
        4,
        [(0, 1, 0), (1, 5, 5.0)],
    )
    rows = {(row.key.account_id, row.key.date_range): row for row in warms.list_by_run(harness.engine, RUN)}
    row = rows["act_1", "yesterday"]
    assert (row.priority, row.strategy, row.batch, rows["act_1", "last_7d"].batch) == (Priority.HIGH, "urgent", 0, 1)


def test_each_strategy_gets_its_tasks(harness: PrefetchHarness) -> None:
    """As many tasks as batches may run at the same time, none empty, with all keys of an account in one."""
    wide = Strategy("wide", ("yesterday", "last_7d"), batch_size=2, max_parallel_batches=4)
    narrow = Strategy("narrow", ("today",), batch_size=2, max_parallel_batches=1)
    summary = _decide(harness, narrow, wide)
    assert [counts["tasks"] for counts in summary.strategies.values()] == [1, 4]
    tasks: dict[str, set[int]] = {}
    for row in _rows(harness):
        tasks.setdefault(f"{row.strategy} {row.key.account_id}", set()).add(row.batch)
    assert all(len(numbers) == 1 for numbers in tasks.values())


def test_the_budget_is_the_strategys_own(harness: PrefetchHarness) -> None:
    """Calls of this hour count for the strategy that made them, also failed ones; the next hour starts anew."""
    tight = Strategy("tight", ("yesterday",), max_calls_per_hour=3)
    other = Strategy("other", ("today",), max_calls_per_hour=2)
    assert _decide(harness, tight, other).strategies["tight"]["planned"] == 3
    [first, second, *_] = [row for row in _rows(harness) if row.strategy == "tight"]
    assert {row.explanation["cut"][:17] for row in _rows(harness, "cut")} == {"cut by the budget"}
    _finish(harness, RUN, [first], 2, WarmStatus.FETCHED)
    _finish(harness, RUN, [second], 1, WarmStatus.FAILED)
    harness.clock.sleep(60)
    later = _decide(harness, tight, other, run_id="adwarm_strategy_warming/r2")
    assert [counts["planned"] for counts in later.strategies.values()] == [0, 2]
    harness.clock.sleep(timedelta(hours=1).total_seconds())
    assert _decide(harness, tight, run_id="adwarm_strategy_warming/r3").total("planned") == 3


def test_a_form_may_use_its_whole_budget(harness: PrefetchHarness) -> None:
    """What a human describes is planned first, is no stored strategy's, and has a budget for its run alone."""
    form = replace(PAIR, name="trigger form", max_calls_per_hour=2)
    for run_id in (RUN, "adwarm_strategy_warming/r2"):
        summary = _decide(harness, replace(PAIR, max_calls_per_hour=9), form=form, run_id=run_id)
        assert [counts["planned"] for counts in summary.strategies.values()] == [2, 2]
        _finish(harness, run_id, _rows(harness, run_id=run_id), 1, WarmStatus.FAILED)
    assert {row.strategy for row in _rows(harness, "failed")} == {None, "pair"}


def test_keys_of_an_account_share_their_calls(harness: PrefetchHarness) -> None:
    """Two ranges need days and a summary: two calls together. An account that is not verified needs a look-up."""
    ranges = ("last_7d", "last_14d")
    assert (
        _decide(harness, Strategy("s", ranges, accounts=("act_1", "act_2"), max_calls_per_hour=3)).total("planned") == 2
    )
    unknown = Strategy("s", ranges, accounts=("act_99", "act_98"), max_calls_per_hour=5)
    assert _decide(harness, unknown).total("planned") == 2


def test_a_budget_below_the_calls_of_one_report_still_warms(harness: PrefetchHarness) -> None:
    """A report that takes two calls gets its turn with a budget of one call an hour."""
    tiny = Strategy("tiny", ("last_7d",), max_calls_per_hour=1)
    assert _decide(harness, tiny).total("planned") == 1


def test_a_small_budget_rotates_over_all_keys(harness: PrefetchHarness) -> None:
    """Every key gets its turn before any gets a second one, also while some of them always fail."""
    strategy = Strategy("turns", ("yesterday", "today"), max_calls_per_hour=2)
    order = []
    for number in range(6):
        run_id = f"adwarm_strategy_warming/{number}"
        _decide(harness, strategy, run_id=run_id)
        rows = _rows(harness, run_id=run_id)
        order += [str(row.key) for row in rows]
        _finish(harness, run_id, rows, 1, WarmStatus.FAILED if number % 2 else WarmStatus.FETCHED)
        harness.clock.sleep(3600)
    assert len(order) >= 12
    assert len(set(order[:12])) == 12


def test_keys_in_flight_are_left_to_their_run(harness: PrefetchHarness) -> None:
    """Keys that a running run still has to fetch are not planned again, and count in the budget."""
    strategy = Strategy("s", ("yesterday",), max_calls_per_hour=4)
    _decide(harness, strategy)
    jobs.start(harness.engine, RUN, "adwarm_strategy_warming", 4, NOW)
    harness.clock.sleep(900)
    again = _decide(harness, strategy, run_id="adwarm_strategy_warming/r2").strategies["s"]
    assert (again["planned"], again["in_flight"], again["cut"]) == (0, 4, 2)
    harness.clock.sleep(3600)
    assert _decide(harness, strategy, run_id="adwarm_strategy_warming/r3").strategies["s"]["in_flight"] == 0


def test_a_dry_run_is_a_shadow_plan(harness: PrefetchHarness) -> None:
    """The plan is stored, and no task carries it out."""
    summary = _decide(harness, PAIR, dry_run=True)
    assert (summary.total("planned"), summary.tasks) == (4, [])
    assert {(row.status, row.mode) for row in warms.list_by_run(harness.engine, RUN)} == {("shadow", "shadow")}


def test_one_bad_strategy_stops_no_other(harness: PrefetchHarness) -> None:
    """A row that is not valid and a report that is not configured are named; the other strategy is planned."""
    odd = Strategy("odd", ("today",), report="sales")
    summary = _decide(harness, odd, PAIR, problems={"broken": "batch_size must be at least 1"})
    assert (set(summary.strategies), set(summary.problems)) == ({"pair"}, {"odd", "broken"})
    assert "'sales' is not configured" in summary.problems["odd"]
    assert len(_rows(harness)) == 4


def test_only_bad_strategies_are_an_error(harness: PrefetchHarness) -> None:
    """The error names each of them and the command that mends them, and no plan is stored."""
    odd = Strategy("odd", ("today",), report="sales")
    with pytest.raises(BadRequest, match=r"adwarm strategy set.*broken: no range.*odd: .*sales"):
        _decide(harness, odd, problems={"broken": "no range"})
    assert warms.list_by_run(harness.engine, RUN) == []


def test_the_budget_is_counted_in_calls_as_they_were_taken(harness: PrefetchHarness) -> None:
    """Once enough is stored, a strategy whose fetches took half of the planned calls plans twice as many reports."""
    strategy = Strategy("s", ("yesterday",), max_calls_per_hour=2)
    for number in range(10):
        run_id = f"adwarm_strategy_warming/{number}"
        assert _decide(harness, strategy, run_id=run_id).total("planned") == 2
        [first, second] = _rows(harness, run_id=run_id)
        _finish(harness, run_id, [first], 1, WarmStatus.FETCHED)
        _finish(harness, run_id, [second], 0, WarmStatus.FETCHED)
        harness.clock.sleep(3600)
    assert _decide(harness, strategy, run_id="adwarm_strategy_warming/last").total("planned") == 4


SLOTS = Strategy("slots", ("yesterday",), accounts=("act_1", "act_2"))
DUE = datetime(2026, 11, 25, 6, tzinfo=UTC)
HOUR, QUARTER = timedelta(hours=1), timedelta(minutes=15)


def _run(harness: PrefetchHarness, at: datetime, *, dry_run: bool = False) -> tuple[list[str], datetime | None]:
    """Plan what is due at `at`, or to be planned again; return the planned accounts, and when it is planned again."""
    harness.clock.set(at)
    run_id = _id(at)
    selection = select_due(harness.engine, run_id, at)
    summary = decide_strategies(harness.prefetch.context, selection, at, run_id, dry_run=dry_run)
    planned = [row.key.account_id for row in _rows(harness, run_id=run_id)]
    return planned, summary.rechecks.get("slots")


def _fetch(harness: PrefetchHarness, at: datetime, *names: str) -> None:
    harness.clock.set(at)
    harness.prefetch.run([KeyRequest(ReportKey(name, "yesterday")) for name in names], Priority.LOW)


def _define(harness: PrefetchHarness, strategy: Strategy) -> None:
    load_strategies(harness.engine, NOW)
    with write_transaction(harness.engine) as connection:
        remove_strategy(connection, DEFAULT_STRATEGIES[0].name, NOW)
        save_strategy(connection, strategy, NOW)


def test_what_was_fresh_gets_its_turn_when_it_expires(harness: PrefetchHarness) -> None:
    """At its due time one report is stale and one fresh. That one is planned once it expires; the other not again."""
    _define(harness, SLOTS)
    _fetch(harness, DUE - 4 * HOUR, "act_1")
    planned, again = _run(harness, DUE)
    assert (planned, floor_to(again or DUE, HOUR)) == (["act_2"], DUE + 2 * HOUR)
    # The fetch of act_2 fails, and a reader fetches act_1 only after it has expired.
    _finish(harness, _id(DUE), _rows(harness, run_id=_id(DUE)), 1, WarmStatus.FAILED)
    assert select_due(harness.engine, "adwarm_strategy_warming/early", DUE + HOUR).is_empty
    later = DUE + 2 * HOUR + QUARTER
    assert _run(harness, later) == (["act_1"], None)
    assert _run(harness, later) == (["act_1"], None)  # a retry
    assert select_due(harness.engine, "adwarm_strategy_warming/next", later + QUARTER).is_empty
    assert sorted(_run(harness, DUE + 6 * HOUR)[0]) == ["act_1", "act_2"]


def test_what_the_budget_cut_gets_its_turn_in_the_next_hours(harness: PrefetchHarness) -> None:
    """One call an hour: the second report in the second hour, and nothing after that until the next due time."""
    _define(harness, replace(SLOTS, max_calls_per_hour=1))
    assert _run(harness, DUE) == (["act_1"], DUE + HOUR)
    _finish(harness, _id(DUE), _rows(harness, run_id=_id(DUE)), 1, WarmStatus.FETCHED)
    assert _run(harness, DUE + HOUR) == (["act_2"], None)


def test_a_range_that_moves_on_is_a_new_report(harness: PrefetchHarness) -> None:
    """`yesterday`, fetched at its due time, covers another day from the account's midnight, and is planned again."""
    _define(harness, replace(SLOTS, cron="0 20 * * *", accounts=("act_1",)))
    due = DUE.replace(hour=20)
    assert _run(harness, due) == (["act_1"], due + 4 * HOUR)
    _fetch(harness, due, "act_1")
    _finish(harness, _id(due), _rows(harness, run_id=_id(due)), 1, WarmStatus.FETCHED)
    assert _run(harness, due + 4 * HOUR) == (["act_1"], None)


def test_a_dry_run_or_a_named_run_requests_nothing(harness: PrefetchHarness) -> None:
    """They leave the schedule as it is."""
    _define(harness, replace(SLOTS, max_calls_per_hour=1))
    harness.clock.set(DUE)
    assert _decide(harness, replace(SLOTS, max_calls_per_hour=1)).rechecks == {}
    assert _run(harness, DUE, dry_run=True)[1] is None


def _id(at: datetime) -> str:
    return f"adwarm_strategy_warming/{at.isoformat()}"
