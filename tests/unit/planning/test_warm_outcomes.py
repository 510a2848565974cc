"""A warm is used, wasted, or still open: as far as the log has been read, and no further."""

from dataclasses import asdict
from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine

from adwarm.model import Actor, Mode, PlannedWarm, ReportKey, WarmReason, WarmResult, WarmStatus
from adwarm.patterns.ingest.run import ingest
from adwarm.planning.warm_outcomes import WarmOutcomes, find_used_strategies, mark_warm_outcomes
from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore, warm_usage, warms
from tests.support.user_log import UserLog
from tests.unit.conftest import finish_warms

AT = datetime(2026, 3, 2, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def _read(engine: Engine, objects: ObjectStore, tmp_path: Path, until: datetime, *opens: tuple[str, datetime]) -> None:
    writer = UserLog(tmp_path / "log" / "a.jsonl")
    for account, at in opens:
        writer.append(at, ReportKey(account, "today"))
    ingest(Context(engine, objects, Settings(access_log={"url": str(tmp_path / "log")})), until)


def _mark(engine: Engine, objects: ObjectStore, *args: datetime, as_: WarmStatus = WarmStatus.FETCHED) -> WarmOutcomes:
    return mark_warm_outcomes(Context(engine, objects, Settings()), *args, status=as_)


def _fetched(engine: Engine, *accounts: str, reason: str = "predicted_open", life: timedelta | None = 3 * HOUR) -> None:
    run = f"dag/{reason}/{accounts}"
    plan = [PlannedWarm(key=ReportKey(name, "today"), reason=WarmReason(reason), decided_at=AT) for name in accounts]
    warms.replace_plan(engine, run, plan)
    expires = AT + life if life else None
    results = [
        WarmResult(warm_id=warm.id, status=WarmStatus.FETCHED, fetched_at=AT, expires_at=expires)
        for warm in warms.list_planned(engine, run, 0)
    ]
    finish_warms(engine, run, results, 0, [])


def _verdicts(engine: Engine) -> dict[str, tuple[bool | None, datetime | None]]:
    rows = [
        row
        for reason in (WarmReason.PREDICTED_OPEN, WarmReason.DAY_CLOSED)
        for row in warms.list_by_reason(engine, reason)
    ]
    return {row.key.account_id: (row.used, row.first_use) for row in rows}


def test_used_wasted_and_open(engine: Engine, objects: ObjectStore, tmp_path: Path) -> None:
    """Opened while fresh is used; expired unopened is wasted, opens before the fetch or after the expiry included."""
    _fetched(engine, "act_1", "act_2", "act_3", "act_4")
    _fetched(engine, "act_5", life=9 * HOUR)
    _read(
        engine,
        objects,
        tmp_path,
        AT + 5 * HOUR,
        ("act_1", AT + 90 * MINUTE),
        ("act_1", AT + 20 * MINUTE),
        ("act_2", AT - MINUTE),
        ("act_3", AT + 3 * HOUR),
        ("act_9", AT + 5 * HOUR - MINUTE),
    )
    result = _mark(engine, objects, AT + 5 * HOUR)
    assert result == WarmOutcomes(used=1, wasted=3, open=1)
    assert _verdicts(engine)["act_1"] == (True, AT + 20 * MINUTE)
    assert _verdicts(engine)["act_5"] == (None, None)


def test_a_strategy_is_used_as_soon_as_a_warm_of_it_is_opened(
    engine: Engine, objects: ObjectStore, tmp_path: Path
) -> None:
    """Opens since the fetch count before the warm ends; opens before it, and those of other warms, do not."""
    for number, name in enumerate(("opened", "before", "unopened")):
        plan = [
            PlannedWarm(
                key=ReportKey(f"act_{number}", "today"), reason=WarmReason.STRATEGY, decided_at=AT, strategy=name
            )
        ]
        warms.replace_plan(engine, name, plan)
        result = WarmResult(
            warm_id=warms.list_planned(engine, name, 0)[0].id,
            status=WarmStatus.FETCHED,
            fetched_at=AT,
            expires_at=AT + 9 * HOUR,
        )
        finish_warms(engine, name, [result], 0, [])
    _read(engine, objects, tmp_path, AT + HOUR, ("act_0", AT + MINUTE), ("act_1", AT - MINUTE))
    context = Context(engine, objects, Settings())
    assert find_used_strategies(context, AT + HOUR) == {"opened"}
    assert find_used_strategies(context, AT) == set()


def test_a_warm_beyond_the_log_stays_open(engine: Engine, objects: ObjectStore, tmp_path: Path) -> None:
    """A warm that expired after the end of the log is not wasted yet; it is marked when the log has been read."""
    _fetched(engine, "act_1")
    _read(engine, objects, tmp_path, AT + HOUR, ("act_9", AT + MINUTE))
    assert _mark(engine, objects, AT + 9 * HOUR) == WarmOutcomes(0, 0, 1)
    assert _mark(engine, objects, AT + 9 * HOUR, AT + 2 * HOUR) == WarmOutcomes(0, 0, 1)
    _read(engine, objects, tmp_path, AT + 9 * HOUR, ("act_1", AT + 2 * HOUR), ("act_9", AT + 9 * HOUR - MINUTE))
    assert _mark(engine, objects, AT + 9 * HOUR) == WarmOutcomes(1, 0, 0)


def test_without_a_log_nothing_is_marked(engine: Engine, objects: ObjectStore) -> None:
    """Before the log was ever read no warm is marked wasted."""
    _fetched(engine, "act_1")
    assert _mark(engine, objects, AT + 99 * HOUR) == WarmOutcomes(0, 0, 1)
    assert _verdicts(engine) == {"act_1": (None, None)}


def test_a_mark_is_final_and_day_closes_are_not_marked(engine: Engine, objects: ObjectStore, tmp_path: Path) -> None:
    """A marked warm does not change, and a closed day is fetched for its score, not for an open."""
    _fetched(engine, "act_1")
    _fetched(engine, "act_2", reason="day_closed")
    _read(engine, objects, tmp_path, AT + 5 * HOUR, ("act_9", AT + 5 * HOUR - MINUTE))
    assert _mark(engine, objects, AT + 5 * HOUR) == WarmOutcomes(0, 1, 0)
    assert _mark(engine, objects, AT + 5 * HOUR) == WarmOutcomes(0, 0, 0)


def test_final_data_is_marked_after_a_week(engine: Engine, objects: ObjectStore, tmp_path: Path) -> None:
    """A warm that never expires is wasted when nobody opened it for a week."""
    _fetched(engine, "act_1", life=None)
    late = AT + timedelta(days=8)
    _read(engine, objects, tmp_path, late, ("act_9", late - MINUTE))
    assert _mark(engine, objects, AT + timedelta(days=6)) == WarmOutcomes(0, 0, 1)
    assert _mark(engine, objects, late) == WarmOutcomes(0, 1, 0)


def _fetch_at(engine: Engine, run: str, at: datetime, status: WarmStatus = WarmStatus.FETCHED) -> int:
    """Store a warm of act_1 that ended with `status` at `at`, and return its id."""
    warms.replace_plan(
        engine,
        run,
        [PlannedWarm(key=ReportKey("act_1", "today"), reason=WarmReason.PREDICTED_OPEN, decided_at=at)],
    )
    (warm,) = warms.list_planned(engine, run, 0)
    done = status is WarmStatus.FETCHED
    result = WarmResult(
        warm_id=warm.id,
        status=status,
        fetched_at=at if done else None,
        expires_at=at + 3 * HOUR if done else None,
    )
    finish_warms(engine, run, [result], 1, [])
    return warm.id


def test_an_open_credits_the_newest_warm_before_it(engine: Engine, objects: ObjectStore, tmp_path: Path) -> None:
    """Of two warms that are fresh at an open the newer one is used, the older one superseded and not wasted."""
    old, new = _fetch_at(engine, "dag/1", AT), _fetch_at(engine, "dag/2", AT + HOUR)
    _read(engine, objects, tmp_path, AT + 5 * HOUR, ("act_1", AT + 90 * MINUTE), ("act_9", AT + 5 * HOUR - MINUTE))
    assert _mark(engine, objects, AT + 5 * HOUR) == WarmOutcomes(used=1, wasted=0, open=0, superseded=1)
    rows = {row.id: row for row in warms.list_by_reason(engine, WarmReason.PREDICTED_OPEN)}
    assert (rows[old].used, rows[old].superseded_by) == (None, new)
    assert (rows[new].used, rows[new].superseded_by, rows[new].first_use) == (True, None, AT + 90 * MINUTE)
    assert _mark(engine, objects, AT + 5 * HOUR) == WarmOutcomes(0, 0, 0)
    (usage,) = warm_usage.get_usage(engine, AT - HOUR)
    assert (usage.used, usage.wasted, usage.superseded, usage.open) == (1, 0, 1, 0)
    assert warm_usage.count_by_status(engine)["superseded"] == 1


def test_both_warms_are_used_when_each_was_opened(engine: Engine, objects: ObjectStore, tmp_path: Path) -> None:
    """A warm that was opened before the newer one came is used, whatever happens to the newer one."""
    _fetch_at(engine, "dag/1", AT)
    _fetch_at(engine, "dag/2", AT + HOUR)
    _read(engine, objects, tmp_path, AT + 5 * HOUR, ("act_1", AT + MINUTE), ("act_9", AT + 5 * HOUR - MINUTE))
    assert _mark(engine, objects, AT + 5 * HOUR) == WarmOutcomes(used=1, wasted=1, open=0)


def test_an_opened_warm_is_open_until_it_ends(engine: Engine, objects: ObjectStore, tmp_path: Path) -> None:
    """A warm is known to be used when it would be known to be wasted, so that no share is of opened warms alone."""
    _fetched(engine, "act_1", "act_2")
    _read(engine, objects, tmp_path, AT + 2 * HOUR, ("act_1", AT + MINUTE), ("act_9", AT + 2 * HOUR - MINUTE))
    assert _mark(engine, objects, AT + 2 * HOUR) == WarmOutcomes(0, 0, 2)
    _read(engine, objects, tmp_path, AT + 5 * HOUR, ("act_9", AT + 5 * HOUR - MINUTE))
    assert _mark(engine, objects, AT + 5 * HOUR) == WarmOutcomes(1, 1, 0)


def test_a_failed_or_stale_warm_is_neither_used_nor_wasted(
    engine: Engine, objects: ObjectStore, tmp_path: Path
) -> None:
    """Only what was fetched is marked, and a warm that failed does not supersede an older one."""
    _fetch_at(engine, "dag/1", AT)
    for number, status in enumerate((WarmStatus.FAILED, WarmStatus.STALE, WarmStatus.DENIED, WarmStatus.FRESH)):
        _fetch_at(engine, f"dag/{status}", AT + (number + 1) * MINUTE, status)
    _read(engine, objects, tmp_path, AT + 5 * HOUR, ("act_1", AT + 30 * MINUTE), ("act_9", AT + 5 * HOUR - MINUTE))
    assert _mark(engine, objects, AT + 5 * HOUR) == WarmOutcomes(used=1, wasted=0, open=0)


def test_only_humans_use_a_warm(engine: Engine, objects: ObjectStore, tmp_path: Path) -> None:
    """Opens by machines and by the warmer do not count; those of an embedded dashboard do."""
    _fetched(engine, "act_1", "act_2", "act_3", "act_4")
    writer = UserLog(tmp_path / "log" / "a.jsonl")
    for number, actor in enumerate((Actor.API, Actor.WARMER, Actor.EMBEDDED, Actor.HUMAN), start=1):
        writer.append(AT + HOUR, ReportKey(f"act_{number}", "today"), actor=actor)
    ingest(Context(engine, objects, Settings(access_log={"url": str(tmp_path / "log")})), AT + 5 * HOUR)
    assert _mark(engine, objects, AT + 5 * HOUR) == WarmOutcomes(used=2, wasted=2, open=0)
    assert {name for name, (used, _) in _verdicts(engine).items() if used} == {"act_3", "act_4"}


def _shadow(engine: Engine, run: str, account: str, at: datetime, life: timedelta | None = 3 * HOUR) -> None:
    warm = PlannedWarm(
        key=ReportKey(account, "today"),
        reason=WarmReason.PREDICTED_OPEN,
        mode=Mode.SHADOW,
        status=WarmStatus.SHADOW,
        decided_at=at,
        warm_at=at,
        predicted_open=at + 10 * MINUTE,
        expires_at=at + life if life else None,
    )
    warms.replace_plan(engine, run, [warm])


def test_shadow_warms_are_marked_as_if_fetched(engine: Engine, objects: ObjectStore, tmp_path: Path) -> None:
    """Used, wasted and open as fetched ones are; one due before an earlier one expires would have cost no call."""
    for number, (account, minutes) in enumerate((("act_1", 0), ("act_1", 15), ("act_2", 0), ("act_1", 200))):
        _shadow(engine, f"dag/{number}", account, AT + minutes * MINUTE)
    _read(engine, objects, tmp_path, AT + 4 * HOUR, ("act_1", AT + 100 * MINUTE), ("act_9", AT + 4 * HOUR - MINUTE))
    assert _mark(engine, objects, AT + 4 * HOUR) == WarmOutcomes(0, 0, 0)
    assert _mark(engine, objects, AT + 4 * HOUR, as_=WarmStatus.SHADOW) == WarmOutcomes(used=1, wasted=1, open=1)
    rows = [warms.list_by_run(engine, f"dag/{number}")[0] for number in range(4)]
    assert [(row.status, row.used) for row in rows] == [
        ("shadow", True),
        ("fresh", None),
        ("shadow", False),
        ("shadow", None),
    ]
    assert [row.fetched_at for row in rows] == [None] * 4
    (figures,) = warm_usage.get_usage(engine, AT - HOUR)
    assert asdict(figures) == {
        "mode": "shadow",
        "reason": "predicted_open",
        "used": 1,
        "wasted": 1,
        "superseded": 0,
        "open": 1,
        "age": 5400.0,
    }
    assert warm_usage.count_by_status(engine)["used"] == 0


def test_usage_is_by_mode_and_reason(engine: Engine, objects: ObjectStore, tmp_path: Path) -> None:
    """By reason: used, wasted, open, and how old the data was at the first use."""
    _fetched(engine, "act_1", "act_2")
    _fetched(engine, "act_3", reason="strategy")
    _read(engine, objects, tmp_path, AT + 5 * HOUR, ("act_1", AT + HOUR), ("act_9", AT + 5 * HOUR - MINUTE))
    _mark(engine, objects, AT + 5 * HOUR)
    result = {item.reason: (item.used, item.wasted, item.age) for item in warm_usage.get_usage(engine, AT - HOUR)}
    assert result == {"predicted_open": (1, 1, 90 * 60.0), "strategy": (0, 1, None)}  # between one hour and two
    assert warm_usage.get_usage(engine, AT + HOUR) == []
