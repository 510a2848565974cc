"""Which strategies a run plans: due ones by their own schedules, named ones, or all."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

import pytest
from sqlalchemy import Engine, update

from adwarm.foundation.errors import NotFound
from adwarm.model import Strategy
from adwarm.planning.strategy_schedule import (
    DEFAULT_STRATEGIES,
    StrategySelection,
    get_closing_time,
    list_enabled_names,
    load_strategies,
    record_problems,
    record_rechecks,
    select_due,
    select_enabled,
    select_named,
)
from adwarm.store import write_transaction
from adwarm.store.strategies import list_strategies, remove_strategy, save_strategy, table

MIDNIGHT = datetime(2026, 10, 24, tzinfo=UTC)
STEP = timedelta(minutes=15)


def _save(engine: Engine, *strategies: Strategy) -> None:
    with write_transaction(engine) as connection:
        for strategy in strategies:
            save_strategy(connection, strategy, MIDNIGHT)


@pytest.fixture
def empty(engine: Engine) -> Engine:
    """A database whose default strategy was removed."""
    load_strategies(engine, MIDNIGHT)
    with write_transaction(engine) as connection:
        remove_strategy(connection, DEFAULT_STRATEGIES[0].name, MIDNIGHT)
    return engine


def _names(selection: StrategySelection) -> list[str]:
    return [strategy.name for strategy in selection.strategies]


def test_a_new_database_gets_the_default_once(engine: Engine) -> None:
    """The default is there, is due at once, and stays removed once it is removed."""
    assert [stored.strategy for stored in load_strategies(engine, MIDNIGHT)] == list(DEFAULT_STRATEGIES)
    assert _names(select_due(engine, "d/1", MIDNIGHT)) == ["default_dashboards"]
    with write_transaction(engine) as connection:
        remove_strategy(connection, "default_dashboards", MIDNIGHT)
    assert load_strategies(engine, MIDNIGHT) == []
    assert select_due(engine, "d/2", MIDNIGHT + timedelta(days=1)).is_empty


def test_each_is_due_on_its_own_schedule(sqlite_engine: Engine) -> None:
    """Over the two days of a clock change, each is planned once per occurrence, at the first run after it."""
    _save(
        sqlite_engine,
        Strategy("berlin", ("today",), cron="30 2 * * *", time_zone="Europe/Berlin"),
        Strategy("six hours", ("today",)),
    )
    planned: dict[str, list[str]] = {}
    for number in range(96):
        at = MIDNIGHT + number * timedelta(minutes=30) + timedelta(minutes=1)
        for name in _names(select_due(sqlite_engine, f"d/{number}", at)):
            planned.setdefault(name, []).append(f"{at:%d %H:%M}")
    assert planned["six hours"] == [f"{day} {hour:02}:01" for day in (24, 25) for hour in (0, 6, 12, 18)]
    # The first is due at once. 02:30 is 00:30 UTC on both days; on the second it comes twice and counts once.
    assert planned["berlin"] == ["24 00:01", "24 00:31", "25 00:31"]


def test_missed_slots_count_once_and_a_retry_repeats(empty: Engine) -> None:
    """After a day without a run a strategy is due once; a retry of that run gets it again, another run does not."""
    _save(empty, Strategy("s", ("today",), cron="0 * * * *"))
    at = MIDNIGHT + timedelta(days=1)
    assert [_names(select_due(empty, run, at)) for run in ("d/1", "d/2", "d/1")] == [["s"], [], ["s"]]
    assert _names(select_due(empty, "d/3", at + timedelta(minutes=59))) == []
    assert _names(select_due(empty, "d/4", at + timedelta(minutes=60))) == ["s"]


def _planned_again(engine: Engine, requested: datetime, *moments: datetime) -> list[bool]:
    """Plan what is due at midnight, request to plan it again, and return whether a run at each moment does so."""
    select_due(engine, "d/0", MIDNIGHT)
    assert record_rechecks(engine, "d/0", {"s": requested}) == {"s": requested}
    return ["s" in select_due(engine, f"d/{number}", at).rechecks for number, at in enumerate(moments, start=1)]


def test_a_due_time_stays_open(empty: Engine) -> None:
    """A run after the requested time plans the strategy again, once, with its due time; its retry does too."""
    _save(empty, Strategy("s", ("today",)))
    request = MIDNIGHT + timedelta(seconds=20)
    assert _planned_again(empty, request, MIDNIGHT, MIDNIGHT + STEP, MIDNIGHT + 2 * STEP) == [False, True, False]
    retry = select_due(empty, "d/2", MIDNIGHT + STEP)
    assert (_names(retry), retry.rechecks) == (["s"], {"s": MIDNIGHT})
    # The plan of an earlier run says nothing about a later one.
    assert record_rechecks(empty, "d/0", {"s": request}) == {}


def test_a_due_time_closes(sqlite_engine: Engine) -> None:
    """A schedule of the night is open for six hours, or as long as its strategy says; DAGs that resume keep to it."""
    hour = timedelta(hours=1)
    for open_hours, expected in ((6, [True, False]), (0, [False, False])):
        _save(sqlite_engine, Strategy("s", ("today",), cron="0 0 * * *", open_hours=open_hours))
        late = (MIDNIGHT + 5.75 * hour, MIDNIGHT + 6 * hour)
        runs = [_planned_again(sqlite_engine, MIDNIGHT + hour, at) for at in late]
        assert [is_planned for [is_planned] in runs] == expected


def test_the_next_due_time_closes_the_one_before(empty: Engine) -> None:
    """After a pause beyond the next due time a strategy is due, and is not planned again for the one before."""
    _save(empty, Strategy("s", ("today",), cron="@hourly"))
    assert _planned_again(empty, MIDNIGHT + STEP, MIDNIGHT + timedelta(hours=1)) == [False]
    with write_transaction(empty) as connection:
        [stored] = [item for item in list_strategies(connection) if item.name == "s"]
    assert (stored.state.planned_slot, stored.state.recheck_at) == (MIDNIGHT + timedelta(hours=1), None)


def test_closing_times_around_a_clock_change() -> None:
    """Six hours are six hours; the next due time is that of the local clock, an hour later when the night is longer."""
    strategy = Strategy("s", ("today",), cron="0 0,6 * * *", time_zone="Europe/Berlin", open_hours=12)
    slot = datetime(2026, 10, 24, 22, tzinfo=UTC)
    assert get_closing_time(strategy, slot) == slot + timedelta(hours=7)
    assert get_closing_time(replace(strategy, open_hours=6), slot) == slot + timedelta(hours=6)


def test_a_schedule_of_office_hours_ends_with_them(subtests: pytest.Subtests) -> None:
    """The last due time of a day is open as long as the others, not until the next day's first."""
    for hour, closes in [((9, 0), (9, 30)), ((13, 30), (14, 0)), ((17, 30), (18, 0))]:
        with subtests.test(hour=hour, closes=closes):
            strategy = Strategy("s", ("today",), cron="*/30 9-17 * * mon-fri")
            day = datetime(2026, 10, 22, tzinfo=UTC)
            slot = day.replace(hour=hour[0], minute=hour[1])
            assert get_closing_time(strategy, slot) == day.replace(hour=closes[0], minute=closes[1])


def test_disabled_ones_wait_until_a_human_names_them(empty: Engine) -> None:
    """The schedule leaves them out; naming one plans it, and leaves the schedule as it is."""
    _save(empty, Strategy("off", ("today",), enabled=False), Strategy("on", ("today",)))
    assert list_enabled_names(empty, MIDNIGHT) == ["on"]
    assert _names(select_named(empty, ["off", "on", "off"], MIDNIGHT)) == ["off", "on"]
    assert _names(select_due(empty, "d/1", MIDNIGHT)) == ["on"]
    with write_transaction(empty) as connection:
        save_strategy(connection, Strategy("off", ("today",)), MIDNIGHT)
    assert _names(select_due(empty, "d/2", MIDNIGHT)) == ["off"]
    with pytest.raises(NotFound, match="no strategy 'typo'; the strategies are off, on"):
        select_named(empty, ["typo"], MIDNIGHT)


def test_all_enabled_ones_count_as_planned(empty: Engine) -> None:
    """A run of everything takes them whether they are due or not, and the schedule continues after it."""
    _save(empty, Strategy("s", ("today",)))
    assert [_names(select_enabled(empty, f"d/{run}", MIDNIGHT)) for run in (1, 2)] == [["s"], ["s"]]
    assert select_due(empty, "d/3", MIDNIGHT + timedelta(hours=5)).is_empty


def test_an_invalid_row_is_reported_once(empty: Engine) -> None:
    """A run gets its problem; while that stays the same no further scheduled run does, and runs of everything do."""
    _save(empty, Strategy("bad", ("today",)), Strategy("good", ("today",)))
    with write_transaction(empty) as connection:
        connection.execute(update(table).where(table.c.name == "bad").values(cron="never"))
    first = select_due(empty, "d/1", MIDNIGHT)
    assert (_names(first), list(first.problems)) == (["good"], ["bad"])
    record_problems(empty, first.problems)
    assert select_due(empty, "d/2", MIDNIGHT + STEP).is_empty
    assert list(select_enabled(empty, "d/3", MIDNIGHT).problems) == ["bad"]
