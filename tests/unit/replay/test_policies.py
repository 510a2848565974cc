"""Policies: loading by name, and the values of the baselines."""

import sys
from dataclasses import replace
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from sqlalchemy import Engine

from adwarm.access_log.timestamps import from_micros, to_micros
from adwarm.forecast.protocol import RecentOpens, data_cutoff_at
from adwarm.forecast.snapshot import StoredForecasts, save_snapshot
from adwarm.forecast.training.train import TRAINERS, fit_forecast
from adwarm.foundation.errors import BadRequest
from adwarm.foundation.local_hours import hours_of_week
from adwarm.model import ReportKey
from adwarm.patterns.opens import Opens, opens_from_frame
from adwarm.planning.decide import MIN_PROBABILITY
from adwarm.planning.plan import LOOKAHEAD, LikelyKeys, PlanTiming, find_likely_keys
from adwarm.replay import baselines
from adwarm.replay.baselines import hour_probabilities
from adwarm.replay.cache_simulation import EvaluationPeriod, FetchDelays, SimulationInputs
from adwarm.replay.deployed_plan import DeployedPlan
from adwarm.replay.policies import BUILT_IN, FORECASTS, ForecastPolicy, KeyLifetimes, load_policies
from adwarm.replay.policy import DecisionTimes, FixedLifetime, Ranking, ReplayTiming
from adwarm.replay.replay_run import ReplayConfig, TrainTestSplit, replay
from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore

from .conftest import MONDAY

HOUR, DAY = baselines.HOUR, baselines.DAY
TERMS = ReplayTiming(HOUR, 0, 0, 3 * HOUR)
LIFE = FixedLifetime(3 * HOUR)
HOW_TO = Path(__file__).resolve().parents[3] / "docs/how-to/write-a-policy.md"


HOURS_OPENED = [(9, "act_1"), (30, "act_2"), (55, "act_2"), (80, "act_2")]


def _opens(*moments: tuple[float, str]) -> Opens:
    """Opens of accounts at hours since the epoch, a Thursday."""
    frame = pd.DataFrame(moments, columns=["hour", "account_id"]).assign(date_range="today")
    return opens_from_frame(frame.assign(ts=pd.to_datetime(frame["hour"] * 3600, unit="s", utc=True)))


def test_all_means_every_built_in(opens: Opens) -> None:
    """`all` and `forecasts` load each once, also beside a name; `all` leaves out the forecasts, which take longest."""
    result = load_policies(["all", "none"], opens, LIFE, Settings())
    assert [policy.name for policy in result] == [name for name in BUILT_IN if name not in FORECASTS]
    result = load_policies(["all", "forecasts"], opens, LIFE, Settings())

    assert {policy.name for policy in result} == set(BUILT_IN)
    assert len(result) == len(BUILT_IN)
    assert all(policy.about for policy in result)


def test_a_policy_of_ones_own_is_replayed(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, opens: Opens, split: TrainTestSplit
) -> None:
    """The example of docs/how-to/write-a-policy.md works."""
    example = HOW_TO.read_text(encoding="utf-8").split("```python\n")[1].split("```")[0]
    (tmp_path / "mine_for_replay.py").write_text(example, encoding="utf-8")
    monkeypatch.syspath_prepend(tmp_path)
    result = replay(opens, split, ReplayConfig(step=timedelta(hours=1)), ["mine_for_replay:TwoDays"], Settings())
    sys.modules.pop("mine_for_replay")

    assert result.document["policies"][0]["name"] == "two-days"
    assert result.document["policies"][0]["targets"][-1]["warms"] > 0


def test_a_policy_that_cannot_be_loaded_is_named(opens: Opens, subtests: pytest.Subtests) -> None:
    """The message names the policy."""
    for name in ["nobody", "no.such.module:Thing", "adwarm.replay.policy:Nothing"]:
        with subtests.test(name=name), pytest.raises(BadRequest, match=name):
            load_policies([name], opens, LIFE, Settings())


def test_popularity_ranks_by_the_opens_of_seven_days() -> None:
    """More opens in the last week give a higher value; none gives 0."""
    opens = _opens((0, "act_1"), (1, "act_1"), (200, "act_2"), (201, "act_2"), (202, "act_3"))
    score = baselines.Popularity().warm_values(210 * HOUR, opens, TERMS)

    assert score[1] > score[2] > 0
    assert score[0] == 0
    hourly = baselines.TopEachHour()
    assert hourly.warm_values(210 * HOUR, opens, TERMS).tolist() == score.tolist()
    assert not hourly.warm_values(210 * HOUR + HOUR // 2, opens, replace(TERMS, step=HOUR // 4)).any()


def test_hours_of_the_week_are_chances() -> None:
    """A weekly open makes its hour likely and other hours unlikely; more weeks make it likelier."""
    logs = ([(n * 168.0 + at, name) for n in range(weeks) for at, name in HOURS_OPENED] for weeks in (3, 9))
    few, many = (_opens(*log) for log in logs)
    hour = int(hours_of_week(np.array([9]))[0])
    short, long = (hour_probabilities(opens) for opens in (few, many))

    assert 0 < short[0, hour] < long[0, hour] <= 1
    assert long[0].argmax() == hour
    assert long[0, (hour + 5) % 168] < 0.01


HOUR = 3_600_000_000
TIMING = ReplayTiming(HOUR, 5 * 60_000_000, 30_000_000, 3 * HOUR)
LIFETIME = FixedLifetime(3 * HOUR)
SETTINGS = Settings.model_validate({"planning": {"step_minutes": 60}})
DAY = MONDAY + timedelta(weeks=4, days=1)
KIND = "hour_of_week"


def decisions_on(day: datetime) -> DecisionTimes:
    """Hourly decisions of a day."""
    at = to_micros(day) + HOUR * np.arange(24, dtype=np.int64)
    return DecisionTimes(at, at - TIMING.lag, TIMING)


def rank(policy: ForecastPolicy, opens: Opens, day: datetime = DAY) -> list[Ranking]:
    """The rankings of a day from the opens that a replay would show."""
    decisions = decisions_on(day)
    policy.fit(opens.before(int(decisions.cutoff[0])), TIMING)
    return list(policy.rank(opens.before(int(decisions.cutoff[-1])), decisions))


def values(rankings: list[Ranking]) -> list[tuple[int, int, float, int]]:
    """Decision, key, value and time of everything that may be warmed."""
    return [
        (ranking.decision, int(key), float(value), int(at))
        for ranking in rankings
        if ranking.warm_at is not None
        for key, value, at in zip(ranking.key, ranking.warm_value, ranking.warm_at, strict=True)
        if value > 0
    ]


@pytest.mark.parametrize("kind", [KIND, "population"])
def test_values_are_the_plan_s_chances(kind: str, opens: Opens) -> None:
    """At each decision the valued keys, chances and times are those of production's forecast and plan."""
    settings = SETTINGS.model_copy(update={"planning": SETTINGS.planning.model_copy(update={"min_confidence": 0.02})})
    found = values(rank(ForecastPolicy(kind, settings, LIFETIME), opens))
    decisions = decisions_on(DAY)
    until = data_cutoff_at(DAY, settings)
    forecast = fit_forecast(kind, opens.before(to_micros(until)), settings, until)
    expected = []
    for index, at in enumerate(from_micros(moment) for moment in decisions.at.tolist()):
        cutoff = data_cutoff_at(at, settings)
        recent = RecentOpens(opens.before(to_micros(cutoff)), cutoff)
        frame = forecast.predict(at, LOOKAHEAD, recent, floor=MIN_PROBABILITY)
        view = KeyLifetimes(opens, LIFETIME)
        timing = PlanTiming(at, timedelta(minutes=61), timedelta(seconds=90))
        likely = find_likely_keys(timing, frame, view, settings.planning.min_confidence)
        lasts = likely.get_lasting(timedelta(minutes=30))
        rows = zip(likely.keys, likely.chance, likely.warm_at, lasts, strict=True)
        expected += [
            (index, view.numbers[key], float(np.round(chance, 9)), to_micros(warm_at))
            for key, chance, warm_at, is_lasting in rows
            if is_lasting
        ]

    assert len(found) > 5
    assert sorted(found) == sorted(expected)


def test_a_cut_log_gives_the_same_decisions(office: pd.DataFrame) -> None:
    """Opens at or after a decision's cutoff change neither values nor probabilities."""
    cut = DAY + timedelta(hours=9, minutes=10)
    whole, seen = opens_from_frame(office), opens_from_frame(office[office["ts"] < pd.Timestamp(cut)])
    both = [rank(ForecastPolicy(KIND, SETTINGS, LIFETIME), log) for log in (whole, seen)]
    index = 9
    assert values(both[0][: index + 1]) == values(both[1][: index + 1])
    for one, other in zip(both[0][: index + 1], both[1][: index + 1], strict=True):
        assert one.probability is not None
        assert other.probability is not None
        assert np.array_equal(one.probability, other.probability)


def _store(engine: Engine, objects: ObjectStore, opens: Opens, *moments: datetime) -> StoredForecasts:
    """Stored forecasts of the kind that were trained until these moments."""
    context = Context(engine, objects, SETTINGS)
    for moment in moments:
        save_snapshot(context, TRAINERS[KIND](opens, SETTINGS, moment), metrics={}, at=DAY)
    return StoredForecasts(context)


def test_each_day_is_replayed_with_the_newest_snapshot_that_has_not_seen_it(
    opens: Opens, sqlite_engine: Engine, objects: ObjectStore
) -> None:
    """A stored forecast is used as it is from the end of its training on; on a day before it, the kind is trained."""
    seen, old = DAY + timedelta(days=3), MONDAY + timedelta(weeks=2)
    plain = values(rank(ForecastPolicy(KIND, SETTINGS, LIFETIME), opens))
    stored = _store(sqlite_engine, objects, opens, seen)
    assert values(rank(ForecastPolicy(KIND, SETTINGS, LIFETIME, stored=stored), opens)) == plain
    assert stored.used == {}

    stored = _store(sqlite_engine, objects, opens, old, old + timedelta(days=1))
    policy = ForecastPolicy(KIND, SETTINGS, LIFETIME, stored=stored)
    assert values(rank(policy, opens)) != plain
    assert "as they were stored" in policy.about
    rank(policy, opens, seen + timedelta(days=1))
    assert [until for _, until in stored.used.values()] == [old + timedelta(days=1), seen]


def _deployed(opens: Opens, settings: Settings = SETTINGS) -> dict[str, float]:
    """The figures of the deployed plan on one day."""
    start = to_micros(DAY)
    inputs = SimulationInputs(opens, TIMING, LIFETIME, FetchDelays(30_000_000, 5_000_000))
    plan = DeployedPlan(inputs, EvaluationPeriod(start, start + 24 * HOUR), settings)
    policy = ForecastPolicy(KIND, settings, LIFETIME)
    policy.observer = plan.decide
    rank(policy, opens)
    return plan.finish()


def test_the_deployed_plan_pays_its_price(opens: Opens) -> None:
    """It warms what is worth the price: more when an open is worth more, nothing beyond the hour's calls."""
    usual = _deployed(opens)
    assert usual["warms"] > 0
    assert usual["first_open_hit_ratio"] > 0.2
    assert usual["multiple"] > 1
    frugal = SETTINGS.planning.model_copy(update={"open_value": 1.01})
    assert _deployed(opens, SETTINGS.model_copy(update={"planning": frugal}))["warms"] < usual["warms"]
    tight = SETTINGS.planning.model_copy(update={"max_calls_per_hour": 1})
    assert _deployed(opens, SETTINGS.model_copy(update={"planning": tight}))["warms"] < usual["warms"]


def test_decisions_outside_the_period_are_not_simulated(opens: Opens) -> None:
    """A decision of the weeks in which thresholds are learned changes nothing."""
    start = to_micros(DAY)
    inputs = SimulationInputs(opens, TIMING, LIFETIME, FetchDelays(30_000_000, 5_000_000))
    plan = DeployedPlan(inputs, EvaluationPeriod(start, start + 24 * HOUR), SETTINGS)
    policy = ForecastPolicy(KIND, SETTINGS, LIFETIME)
    considered: list[int] = []

    def decide(at: int, likely: LikelyKeys) -> None:
        considered.append(len(likely.keys))
        plan.decide(at, likely)

    policy.observer = decide
    rank(policy, opens, DAY - timedelta(days=1))
    assert sum(considered) > 0
    assert plan.finish()["warms"] == 0


def test_unknown_keys_are_left_out(opens: Opens, sqlite_engine: Engine, objects: ObjectStore) -> None:
    """A key of the snapshot that the replayed log does not hold gets no value."""
    old = _store(sqlite_engine, objects, opens, MONDAY + timedelta(weeks=2))
    renamed = replace(opens, account_id=np.where(opens.account_id == "act_1", "act_9", opens.account_id))
    rankings = rank(ForecastPolicy(KIND, SETTINGS, LIFETIME, stored=old), renamed)
    keys = {renamed.report_key(key) for _, key, _, _ in values(rankings)}
    assert keys
    assert not any(key.account_id == "act_9" for key in keys)
    assert ReportKey("act_1", "today") not in keys
