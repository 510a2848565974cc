"""Each reason why a report was not warm, built by the product's own functions and found in the explanation."""

from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import Engine, event

from adwarm.forecast.models.seasonal import SeasonalForecast
from adwarm.forecast.snapshot import promote_snapshot, save_snapshot
from adwarm.forecast.training.train import train_seasonal
from adwarm.foundation.errors import BadRequest
from adwarm.model import Account, Mode, ReportKey, WarmResult, WarmStatus
from adwarm.patterns.opens import opens_from_frame
from adwarm.planning.decide import LIVE_DAG, decide
from adwarm.planning.key_facts import KeyExplainer
from adwarm.planning.strategies import decide_strategies
from adwarm.planning.strategy_changes import apply_changes, check_changes
from adwarm.planning.strategy_schedule import select_named
from adwarm.planning.why_not_warm import Explanation, StepStatus
from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore, accounts, denials, jobs, warms, write_transaction
from adwarm.store.capacity import capacity_sample
from adwarm.store.data_arrivals import table as data_arrival
from adwarm.store.error_events import ErrorEvent, ErrorLog
from adwarm.store.gates import table as gate
from adwarm.store.switches import Switch, SwitchState, set_switch
from tests.support.gate_rows import breaker_row
from tests.unit.conftest import finish_warms

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
NINE = MONDAY + timedelta(hours=9)
HOUR, MINUTE = timedelta(hours=1), timedelta(minutes=1)
KEY = ReportKey("act_1", "today")
RUN = f"{LIVE_DAG}/r1"


@dataclass
class World:
    """An installation that has learned that three accounts are opened every day ten minutes after nine."""

    engine: Engine
    objects: ObjectStore
    planning: dict[str, Any]

    @property
    def context(self) -> Context:
        """The installation with the settings of now."""
        return Context(self.engine, self.objects, Settings(planning={"step_minutes": 60, **self.planning}))

    def run(self, at: datetime, run: str = RUN, mode: Mode = Mode.LIVE) -> list[Any]:
        """Let a run decide, as its task does, and return its warms."""
        summary = decide(self.context, at, run, mode)
        jobs.start(self.engine, run, run.partition("/")[0], summary.planned, at)
        return warms.list_by_run(self.engine, run)

    def finish(self, status: WarmStatus, key: ReportKey = KEY, run: str = RUN, **result: Any) -> None:
        """Store the result of a key's warm."""
        [warm] = [item for item in warms.list_by_run(self.engine, run) if item.key == key]
        finish_warms(self.engine, run, [WarmResult(warm_id=warm.id, status=status, **result)], 1, [])

    def explain(self, at: datetime, key: ReportKey = KEY, now: datetime | None = None) -> Explanation:
        """Explain a key; by default a quarter of an hour after the moment."""
        return KeyExplainer(self.context).explain(key, at, now or at + 15 * MINUTE)


@pytest.fixture(scope="module")
def forecast() -> SeasonalForecast:
    """What eight weeks teach; a fourth account is opened a quarter of an hour before midnight."""
    rows = [
        {
            "account_id": f"act_{n}",
            "date_range": "today",
            "report": "default",
            "time_zone": "UTC",
            "ts": NINE - timedelta(days=day) + timedelta(minutes=10 + n),
        }
        for day in range(1, 57)
        for n in (1, 2, 3)
    ]
    rows += [{**row, "account_id": "act_4", "ts": row["ts"] + 14 * HOUR + 30 * MINUTE} for row in rows[::3]]
    opens = pd.DataFrame(rows).assign(ts=lambda frame: pd.to_datetime(frame["ts"], utc=True))
    return train_seasonal(opens_from_frame(opens), Settings(planning={"step_minutes": 60}), MONDAY)


@pytest.fixture
def world(engine: Engine, objects: ObjectStore, forecast: SeasonalForecast) -> World:
    """The installation after eight weeks."""
    context = Context(engine, objects, Settings(planning={"step_minutes": 60}))
    snapshot = save_snapshot(context, forecast, metrics={}, at=MONDAY)
    promote_snapshot(engine, snapshot.id, MONDAY)
    accounts.save(engine, [Account(f"act_{n}", currency="EUR") for n in (1, 2, 3, 4)], MONDAY)
    return World(engine, objects, {})


def _decisive(explanation: Explanation) -> str:
    """Return the name of the decisive step; everything before it is ok, everything after it is not reached."""
    statuses = [step.status for step in explanation.steps]
    place = statuses.index(StepStatus.DECISIVE)
    assert set(statuses[:place]) <= {StepStatus.OK}
    assert set(statuses[place + 1 :]) <= {StepStatus.NOT_REACHED}
    step = explanation.steps[place]
    because = explanation.because.removeprefix("because ")
    assert because != explanation.because
    assert step.text.startswith(because[:1].upper() + because[1:])
    assert explanation.advice
    return step.name


def test_a_fetched_report_was_warm(world: World) -> None:
    """The entry of a run is named with its times; after it has expired the next decision explains the moment."""
    world.run(NINE)
    world.finish(WarmStatus.FETCHED, fetched_at=NINE + MINUTE, expires_at=NINE + 3 * HOUR)
    warm = world.explain(NINE + 20 * MINUTE, now=NINE + 4 * HOUR)
    assert (warm.is_warm, _decisive(warm)) == (True, "stored_entry")
    assert "2026-03-02 09:01 UTC" in warm.because
    assert warm.headline == "act_1 today was warm at 2026-03-02 09:20 UTC"


def test_an_entry_that_is_gone_is_not_warm(world: World) -> None:
    """A fetch that would still be fresh and has no entry any more was evicted or purged."""
    world.run(NINE)
    world.finish(WarmStatus.FETCHED, fetched_at=NINE + MINUTE, expires_at=NINE + 3 * HOUR)
    gone = world.explain(NINE + HOUR, now=NINE + HOUR)
    assert (gone.is_warm, _decisive(gone)) == (False, "stored_entry")
    assert "evicted or purged" in gone.because


def test_restated_data_ends_an_entry(world: World) -> None:
    """An entry whose days arrived again after its fetch ended then."""
    world.run(NINE)
    world.finish(WarmStatus.FETCHED, fetched_at=NINE + MINUTE, expires_at=NINE + 3 * HOUR)
    arrival = {"account_id": "act_1", "day": MONDAY.date(), "arrived_at": NINE + HOUR, "origin": "loader"}
    with write_transaction(world.engine) as connection:
        connection.execute(data_arrival.insert().values(arrival))
    restated = world.explain(NINE + 2 * HOUR)
    assert (restated.is_warm, _decisive(restated)) == (False, "stored_entry")
    assert "arrived again at 2026-03-02 10:00 UTC" in restated.because
    assert world.explain(NINE + 30 * MINUTE, now=NINE + 4 * HOUR).is_warm


def test_an_unknown_account_is_named(world: World) -> None:
    """An account that neither a connection nor the log names is not known."""
    world.run(NINE)
    answer = world.explain(NINE + 10 * MINUTE, ReportKey("act_404", "today"))
    assert _decisive(answer) == "account"
    assert answer.because.startswith("because adwarm does not know the account act_404: it is in no connection")


def test_a_denied_account_says_so(world: World) -> None:
    """A denial before the moment explains it, one after it does not."""
    denials.record(world.engine, "act_1", "default", "abc", "no role on it", NINE)
    denials.close_account(world.engine, "act_1", "no role on it", NINE)
    denied = world.explain(NINE + 10 * MINUTE)
    assert _decisive(denied) == "account"
    assert "access to the account was denied at 2026-03-02 09:00 UTC" in denied.because
    assert world.explain(NINE - HOUR, now=NINE + HOUR).steps[0].status is StepStatus.OK


def test_a_closed_account_is_left_out(world: World) -> None:
    """A closed account is not planned."""
    accounts.save(world.engine, [Account("act_1", status="closed")], MONDAY)
    world.run(NINE)
    closed = world.explain(NINE + 10 * MINUTE)
    assert (_decisive(closed), "plans leave closed accounts out" in closed.because) == ("account", True)


def test_an_unconfigured_report_is_named(world: World) -> None:
    """A report that the settings do not define is never fetched."""
    answer = world.explain(NINE, ReportKey("act_1", "today", "weekly"))
    assert (_decisive(answer), "'weekly' is not configured" in answer.because) == ("report", True)


@pytest.mark.parametrize(
    ("name", "is_on", "text"),
    [("warming", False, "warming is switched off"), ("shadow", True, "shadow is switched on")],
)
def test_switches_explain_moments_after_their_change(world: World, name: str, is_on: bool, text: str) -> None:
    """A switch explains the time since its last change; what it was before is not guessed."""
    set_switch(world.engine, SwitchState(Switch(name), is_on, NINE, "<b>ops</b>", "quota"))
    off = world.explain(NINE + HOUR)
    assert _decisive(off) == "switches"
    assert f"because {text}" in off.because
    before = next(step for step in world.explain(NINE - HOUR, now=NINE).steps if step.name == "switches")
    assert (before.status, "is not recorded here" in before.text) == (StepStatus.OK, True)


def test_no_run_near_the_moment(world: World) -> None:
    """Without any run, and long after the last one, the missing run is the reason."""
    none = world.explain(NINE + 10 * MINUTE)
    assert (_decisive(none), "no run of adwarm_intelligent_warming decided then" in none.because) == ("run", True)
    world.run(NINE - 6 * HOUR)
    missed = world.explain(NINE + 10 * MINUTE)
    assert "the last one started at 2026-03-02 03:00 UTC" in missed.because


def test_a_cut_report_names_price_and_benefit(world: World) -> None:
    """What the hourly budget cut is explained by the row of the plan."""
    world.planning["max_calls_per_hour"] = 2
    cut = next(item for item in world.run(NINE) if item.status == "cut")
    answer = world.explain(NINE + 10 * MINUTE, cut.key)
    assert _decisive(answer) == "plan"
    assert "cut by the budget: 2 of the 2 calls of all accounts" in answer.because
    assert "calls at a price of" in answer.steps[5].text
    assert "MAX_CALLS_PER_HOUR" in answer.advice


def test_a_delayed_run_is_named_by_its_decision(world: World) -> None:
    """A run that started after the next decision time is no run of that time; the next decision is named."""
    decide(world.context, NINE, RUN, Mode.LIVE)
    jobs.start(world.engine, RUN, LIVE_DAG, 3, NINE + 62 * MINUTE)
    at = NINE + 65 * MINUTE
    steps = world.explain(at, ReportKey("act_1", "last_7d"), now=at).steps
    step = next(item for item in steps if item.name == "run")
    assert step.text == (
        f"The run {RUN} decided at 2026-03-02 09:00 UTC. The next one decides at 2026-03-02 11:00 UTC."
    )


def test_a_row_of_the_plan_is_never_said_to_be_missing(world: World) -> None:
    """A warm that was fetched and has expired since is in the plan, and its end is named."""
    world.run(NINE)
    ended = NINE + 8 * MINUTE
    world.finish(WarmStatus.FETCHED, fetched_at=NINE + MINUTE, expires_at=ended)
    answer = world.explain(NINE + 20 * MINUTE)
    assert "no row" not in " ".join(step.text for step in answer.steps)
    assert "which answered it until 2026-03-02 09:08 UTC" in answer.because


def test_shadow_runs_fetch_nothing(world: World) -> None:
    """A shadow plan explains itself."""
    world.run(NINE, mode=Mode.SHADOW)
    answer = world.explain(NINE + 20 * MINUTE)
    assert (_decisive(answer), "shadow mode" in answer.because) == ("plan", True)


@pytest.mark.parametrize(
    ("status", "text"),
    [
        (WarmStatus.FAILED, "its fetch failed: Throttled"),
        (WarmStatus.STALE, "the older answer was kept"),
        (WarmStatus.DENIED, "the platform denied access"),
    ],
)
def test_failed_fetches_name_what_was_in_their_way(world: World, status: WarmStatus, text: str) -> None:
    """A fetch that failed names its error, the errors of the account, parked scopes and open breakers then."""
    world.run(NINE)
    world.finish(status, error="Throttled: too many calls")
    ErrorLog(world.engine).record(ErrorEvent(NINE + MINUTE, "meta", "Throttled", "too many", account_id="act_1"))
    sample = {"at": NINE + MINUTE, "scope": "account:act_1", "limit": 1.0, "in_flight": 0, "is_parked": True}
    with write_transaction(world.engine) as connection:
        connection.execute(capacity_sample.insert().values(sample))
        connection.execute(gate.insert().values(breaker_row("source:meta", "open", 0.0, 0.0)))
    at = NINE + 20 * MINUTE
    answer = world.explain(at, now=at)
    assert _decisive(answer) == "plan"
    assert text in answer.because
    if status is WarmStatus.FAILED:
        for part in ("Throttled at 09:01 UTC", "parked by account:act_1", "refused now by source:meta"):
            assert part in answer.because


def test_late_fetches_say_how_late(world: World) -> None:
    """A planned warm is not fetched yet, is fetched too late, or was due for a later open."""
    warm = next(item for item in world.run(NINE) if item.key == KEY)
    early = world.explain(warm.warm_at - MINUTE)
    assert (_decisive(early), "the open was expected later" in early.because) == ("plan", True)
    waiting = world.explain(warm.warm_at + 20 * MINUTE)
    assert "is not fetched yet" in waiting.because
    fetched = warm.warm_at + 50 * MINUTE
    world.finish(WarmStatus.FETCHED, fetched_at=fetched, expires_at=fetched + 3 * HOUR)
    late = world.explain(warm.warm_at + 20 * MINUTE, now=NINE + 5 * HOUR)
    assert "it was fetched 30 min too late" in late.because


def test_a_report_without_history_is_unknown_to_the_forecast(world: World) -> None:
    """A key of a known account that was never opened has no history."""
    world.run(NINE)
    answer = world.explain(NINE + 10 * MINUTE, ReportKey("act_1", "last_30d"))
    assert (_decisive(answer), "no open of it is in the log" in answer.because) == ("forecast", True)


def test_an_unlikely_report_states_both_probabilities_and_the_evidence(world: World) -> None:
    """Below the least probability, the chance, the setting and the record of that hour of the week are stated."""
    world.run(MONDAY + 15 * HOUR)
    answer = world.explain(MONDAY + 15 * HOUR + 5 * MINUTE)
    assert _decisive(answer) == "forecast"
    assert "below the 10% of ADWARM_PLANNING__MIN_CONFIDENCE" in answer.because
    assert "not opened in the last 8 Mondays between 15:00 and 16:00 (UTC)" in answer.because


def test_a_later_hour_is_waited_for(world: World) -> None:
    """Before the usual hour, the much likelier hour is named."""
    world.run(NINE - 2 * HOUR)
    answer = world.explain(NINE - 2 * HOUR + 5 * MINUTE)
    assert (_decisive(answer), "a later hour was much likelier" in answer.because) == ("forecast", True)
    assert "2026-03-02 09:" in answer.because


def test_a_fresh_entry_was_enough_for_the_expected_session(world: World, monkeypatch: pytest.MonkeyPatch) -> None:
    """A run that finds an entry fresh through the session plans nothing, and the entry may end before another open."""
    first, fetched = f"{LIVE_DAG}/r0", NINE - 30 * MINUTE
    monkeypatch.setattr("adwarm.planning.plan.SESSION", 5 * MINUTE)
    world.run(NINE, first)
    world.finish(WarmStatus.FETCHED, run=first, fetched_at=fetched, expires_at=NINE + 40 * MINUTE)
    jobs.start(world.engine, RUN, LIVE_DAG, 0, NINE + 30 * MINUTE)
    answer = world.explain(NINE + 50 * MINUTE)
    assert _decisive(answer) == "forecast"
    assert "the stored entry stays fresh until 2026-03-02 09:40 UTC, past the session" in answer.because


def test_a_warm_that_gains_less_than_its_call_is_not_worth_it(world: World) -> None:
    """A likely open whose value is below the price of a call is left out, with both figures."""
    world.planning["open_value"] = 1.01
    assert world.run(NINE) == []
    answer = world.explain(NINE + 20 * MINUTE)
    assert _decisive(answer) == "forecast"
    assert "a warm was worth 0.74 calls" in answer.because
    assert "not more than its price" in answer.because


def test_an_entry_that_would_expire_within_the_session_is_cut(world: World) -> None:
    """Before midnight, when the range changes, a fetch would not last through the session."""
    key = ReportKey("act_4", "today")
    world.run(MONDAY + 23 * HOUR)
    answer = world.explain(MONDAY + 23 * HOUR + 45 * MINUTE, key)
    assert _decisive(answer) == "plan"
    assert "would expire at 2026-03-03 00:00 UTC, before the session ends" in answer.because
    assert "MAX_CALLS_PER_HOUR" not in answer.advice


def test_a_strategy_that_includes_the_key_is_named(world: World) -> None:
    """Strategies say why they leave a key out; one that includes it has its row in a plan."""
    definitions = {
        "other_ranges": {"date_ranges": ["last_7d"]},
        "other_accounts": {"date_ranges": ["today"], "accounts": ["act_2"]},
        "without_it": {"date_ranges": ["today"], "excluded_accounts": ["act_1"]},
        "disabled": {"date_ranges": ["today"], "enabled": False},
        "opened": {"date_ranges": ["today"], "opened_only": True},
    }
    apply_changes(world.context, check_changes(world.context, definitions, NINE), NINE)
    step = next(item for item in world.explain(NINE).steps if item.name == "strategies")
    reasons = {"names other accounts", "excludes the account", "is disabled", "warms last_7d"}
    assert reasons <= set(step.facts.values())
    never = ReportKey("act_4", "today")
    step = next(item for item in world.explain(NINE, never).steps if item.name == "strategies")
    assert step.facts["opened"] == "warms only what was opened in the 30 days before"
    kept = {"keep": {"date_ranges": ["today"], "max_calls_per_hour": 1, "accounts": ["act_1", "act_2"]}}
    apply_changes(world.context, check_changes(world.context, kept, NINE), NINE)
    selection = select_named(world.engine, ["keep"], NINE)
    decide_strategies(world.context, selection, NINE, "adwarm_strategy_warming/s1")
    cut = ReportKey("act_2", "today")
    answer = world.explain(NINE + 10 * MINUTE, cut)
    assert _decisive(answer) == "plan"
    assert "1 reports that waited longer came before it" in answer.because


def test_moments_ahead_are_forecast(world: World) -> None:
    """Ahead of time the coming run's decision is computed; a planned warm is promised; too far ahead is refused."""
    ahead = world.explain(NINE + 10 * MINUTE, now=NINE - 3 * HOUR)
    assert (ahead.is_warm, ahead.is_future, _decisive(ahead)) == (True, True, "forecast")
    assert ahead.headline == "act_1 today will be warm at 2026-03-02 09:10 UTC"
    quiet = world.explain(MONDAY + 18 * HOUR, now=NINE)
    assert (quiet.is_warm, "MIN_CONFIDENCE" in quiet.because) == (False, True)
    warm = next(item for item in world.run(NINE) if item.key == KEY)
    promised = world.explain(warm.warm_at + 10 * MINUTE, now=NINE)
    assert (promised.is_warm, _decisive(promised)) == (True, "plan")
    with pytest.raises(BadRequest, match="more than 7 days ahead"):
        world.explain(NINE + timedelta(days=8), now=NINE)


def test_what_is_not_recorded_is_said_to_be_so(world: World) -> None:
    """Where retention has deleted the history, the setting that keeps it longer is named."""
    answer = world.explain(NINE, now=NINE + timedelta(days=200))
    texts = {step.name: step.text for step in answer.steps}
    assert "ADWARM_RETENTION__HISTORY_DAYS" in texts["stored_entry"]
    assert "ADWARM_RETENTION__HISTORY_DAYS" in texts["plan"]
    assert "ADWARM_RETENTION__HISTORY_DAYS" in answer.advice
    jobs.start(world.engine, RUN, LIVE_DAG, 0, MONDAY - timedelta(days=30))
    earlier = world.explain(MONDAY - timedelta(days=30) + MINUTE, now=NINE)
    assert "no forecast of that time is stored any more; ADWARM_RETENTION__HISTORY_DAYS" in earlier.because


def test_another_forecast_of_that_time_is_said_to_be_assumed(world: World) -> None:
    """Once another forecast is live, the newest of its kind that was stored by then is used, and that is said."""
    world.run(MONDAY + 15 * HOUR)
    row = {"account_id": "act_7", "date_range": "today", "report": "default", "time_zone": "UTC"}
    other = opens_from_frame(pd.DataFrame([{**row, "ts": pd.Timestamp(NINE)}]))
    later = MONDAY + timedelta(days=1)
    newer = save_snapshot(world.context, train_seasonal(other, world.context.settings, later), metrics={}, at=later)
    promote_snapshot(world.engine, newer.id, later)
    answer = world.explain(MONDAY + 15 * HOUR + 5 * MINUTE, now=later)
    assert "below the 10%" in answer.because
    assert "Which forecast was live then is not recorded" in answer.steps[-1].text


def test_an_explanation_writes_nothing(world: World) -> None:
    """Every statement is a SELECT, also in an installation without any strategy."""
    world.run(NINE)
    written: list[str] = []

    def check(*arguments: Any) -> None:
        if not arguments[2].lstrip().upper().startswith(("SELECT", "BEGIN", "PRAGMA", "SET ", "SHOW ")):
            written.append(arguments[2])

    event.listen(world.engine, "before_cursor_execute", check)
    try:
        world.explain(NINE + 10 * MINUTE)
        world.explain(MONDAY + 15 * HOUR, now=NINE + 9 * HOUR)
    finally:
        event.remove(world.engine, "before_cursor_execute", check)
    assert written == []


def test_the_explanation_agrees_with_the_plans_rows(world: World) -> None:
    """For every key of a plan, planned or cut, the decisive step is the plan with the row's own status and figures."""
    world.planning["max_calls_per_hour"] = 2
    for row in world.run(NINE):
        step = next(item for item in world.explain(NINE + 20 * MINUTE, row.key).steps if item.name == "plan")
        assert step.status is StepStatus.DECISIVE
        assert (step.facts["warm_id"], step.facts["status"]) == (row.id, str(row.status))
        assert step.facts["benefit"] == pytest.approx(row.benefit, abs=1e-3)
