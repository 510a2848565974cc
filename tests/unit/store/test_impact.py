"""Live impact in the store: designs that begin anew, units, estimates, and withheld warms."""

from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Engine

from adwarm.model import ImpactUnit, OpenSource, PlannedWarm, ReportKey, WarmReason, WarmStatus
from adwarm.store import impact, warms

AT = datetime(2026, 3, 4, 9, tzinfo=UTC)
HOUR, DAY = timedelta(hours=1), timedelta(days=1)
MONDAY = date(2026, 3, 2)
KEY = ReportKey("act_1", "today")


def _unit(account: str = "act_1", hits: int = 3) -> ImpactUnit:
    return ImpactUnit(
        account_id=account,
        week=MONDAY,
        is_held_out=True,
        first_opens=5,
        first_hits=hits,
        calls=0,
        withheld=2,
        source=OpenSource.READ_API,
    )


def _withhold(engine: Engine, run: str, at: datetime, expires_at: datetime | None) -> None:
    item = PlannedWarm(
        key=KEY,
        reason=WarmReason.PREDICTED_OPEN,
        status=WarmStatus.HELD_OUT,
        decided_at=at,
        warm_at=at,
        predicted_open=at,
        expires_at=expires_at,
        requests=2,
    )
    warms.replace_plan(engine, run, [item])


def test_a_design_runs_until_its_settings_change(engine: Engine) -> None:
    """The same share keeps the design and its salt; another share or a pause begins a new one."""
    assert impact.find_design(engine) is None
    first = impact.start_design(engine, AT, 0.1)
    assert first.salt == AT.isoformat()
    assert impact.start_design(engine, AT + DAY, 0.1) == first
    second = impact.start_design(engine, AT + DAY, 0.2)
    third = impact.start_design(engine, AT + 2 * DAY, 0.1)
    assert len({first.id, second.id, third.id}) == 3
    assert third.salt == (AT + 2 * DAY).isoformat()
    impact.end_design(engine, AT + 3 * DAY)
    assert impact.find_design(engine) is None
    ended = impact.find_newest_design(engine)
    assert ended is not None
    assert (ended.id, ended.ended_at) == (third.id, AT + 3 * DAY)
    assert impact.start_design(engine, AT + 4 * DAY, 0.1).id > third.id


def test_units_are_replaced(engine: Engine) -> None:
    """Measuring a week again stores the new counts; units of other designs stay apart."""
    impact.save_units(engine, 1, [_unit("act_2"), _unit("act_1")])
    impact.save_units(engine, 1, [_unit("act_1", hits=4)])
    impact.save_units(engine, 2, [_unit("act_9")])
    assert impact.list_units(engine, 1) == [_unit("act_1", hits=4), _unit("act_2")]


def test_the_newest_estimate(engine: Engine) -> None:
    """That of the newest design and week, with how many designs there were."""
    assert impact.find_newest_estimate(engine) is None
    first = impact.start_design(engine, AT, 0.1)
    for week in (MONDAY, MONDAY + 7 * DAY, MONDAY):
        impact.save_estimate(engine, first.id, week, AT, {"week": week.isoformat()})
    second = impact.start_design(engine, AT + DAY, 0.2)
    stored = impact.find_newest_estimate(engine)
    assert stored is not None
    assert (stored.design.id, stored.week, stored.designs) == (first.id, MONDAY + 7 * DAY, 2)
    assert impact.find_newest_week(engine, first.id) == MONDAY + 7 * DAY
    assert impact.find_newest_week(engine, second.id) is None


def test_withheld_warms_hide_until_they_expire(engine: Engine) -> None:
    """Those decided before count until they expire; those of the decision itself do not, so it can be repeated."""
    _withhold(engine, "dag/1", AT, AT + 3 * HOUR)
    _withhold(engine, "dag/2", AT + HOUR, AT + 2 * HOUR)
    assert impact.get_withheld_until(engine, AT) == {}
    assert impact.get_withheld_until(engine, AT + HOUR) == {KEY: AT + 3 * HOUR}
    assert impact.get_withheld_until(engine, AT + 4 * HOUR) == {}
    _withhold(engine, "dag/3", AT + HOUR, None)
    assert impact.get_withheld_until(engine, AT + 4 * HOUR) == {KEY: AT + HOUR + 8 * DAY}
    assert impact.get_withheld_until(engine, AT + 10 * DAY) == {}


def test_withheld_warms_are_never_fetched_and_use_the_budget(engine: Engine) -> None:
    """No batch gets one, planning the run again replaces it, and its calls count in the hour of its decision."""
    _withhold(engine, "dag/1", AT, AT + 3 * HOUR)
    assert warms.list_planned(engine, "dag/1", 0) == []
    assert warms.list_batch_accounts(engine, "dag/1", 0) == []
    assert warms.get_calls_by_account(engine, AT, AT + HOUR, "dag/2", AT + HOUR) == {"act_1": 2}
    _withhold(engine, "dag/1", AT, AT + 3 * HOUR)
    assert len(warms.list_by_run(engine, "dag/1")) == 1
    rows = list(impact.iter_predicted(engine, AT, AT + HOUR))
    assert [(row.account_id, row.is_withheld, row.calls) for row in rows] == [("act_1", True, 2)]
    assert impact.list_fetched_spans(engine, AT, AT + HOUR) == []
    assert impact.count_exempt(engine, AT, AT + HOUR) == {}
