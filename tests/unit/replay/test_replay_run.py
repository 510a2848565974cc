"""A whole replay: bounds, targets, determinism, and the reference figures of the real logs."""

from collections.abc import Iterator
from datetime import UTC, datetime, timedelta
from pathlib import Path

import numpy as np
import orjson
import pytest

from adwarm.foundation.errors import BadRequest
from adwarm.patterns.opens import Opens
from adwarm.replay.cache_simulation import EvaluationPeriod
from adwarm.replay.policies import BUILT_IN, FORECASTS
from adwarm.replay.policy import DecisionTimes, Ranking, ReplayTiming, SimplePolicy
from adwarm.replay.replay_run import ReplayConfig, ReplayResult, TrainTestSplit, read_opens, replay
from adwarm.replay.simulate import iter_rankings
from adwarm.settings import Settings

IDEAL = ReplayConfig(step=timedelta(hours=1), lag=timedelta(0), latency=timedelta(0), targets=(1.5, 2.0, 3.0))
REFERENCE = {  # train from, test from, test to, first opens, ratio without warming, multiple of warming everything
    "loan_desk": ("2011-12-08", "2012-02-02", "2012-03-01", 6841, 0.477, 14.0),
    "helpdesk": ("2012-05-17", "2012-07-12", "2012-08-09", 465, 0.340, 12.2),
    "page_opens": ("2018-01-18", "2018-03-15", "2018-04-12", 620, 0.179, 28.6),
    "scheduled_flights": ("2013-01-17", "2013-03-14", "2013-04-11", 18237, 0.0, 11.5),
}


@pytest.fixture(scope="module")
def all_policies(opens: Opens, split: TrainTestSplit) -> ReplayResult:
    """Every policy over the small log, but those that train a model, which have tests of their own."""
    return replay(opens, split, IDEAL, [name for name in BUILT_IN if name not in {*FORECASTS, "adwarm"}], Settings())


def _named(result: ReplayResult, name: str) -> dict:
    return next(policy for policy in result.document["policies"] if policy["name"] == name)


def _at(policy: dict, multiple: float) -> float:
    return next(row["first_open_hit_ratio"] for row in policy["read_off_curve"] if row["multiple"] == multiple)


def test_the_bounds_hold(all_policies: ReplayResult) -> None:
    """The oracle serves all but a new key's first open for the calls of no warming; `everything` costs far more."""
    oracle, everything = _named(all_policies, "oracle"), _named(all_policies, "everything")

    assert oracle["targets"][0]["first_open_hit_ratio"] > 0.98
    assert oracle["targets"][0]["multiple"] <= 1.0
    assert oracle["targets"][0]["wasted"] == 0
    assert max(row["first_open_hit_ratio"] for row in everything["curve"]) > 0.99
    assert max(row["multiple"] for row in everything["curve"]) > 5


def test_hour_of_week_beats_popularity(all_policies: ReplayResult) -> None:
    """Keys with regular hours are predicted by hour-of-week."""
    assert _at(_named(all_policies, "hour-of-week"), 2.0) > _at(_named(all_policies, "popularity"), 2.0) + 0.1


def test_figures_are_consistent(all_policies: ReplayResult) -> None:
    """Calls are warms plus misses, warms are used plus wasted, and the interval contains the figure."""
    for policy in all_policies.document["policies"]:
        for row in policy["targets"]:
            low, high = row["first_open_hit_ratio_interval"]
            assert row["used"] + row["wasted"] == row["warms"] <= row["calls"]
            assert low - 1e-9 <= row["first_open_hit_ratio"] <= high + 1e-9


def test_the_list_of_warms_matches_the_figures(all_policies: ReplayResult) -> None:
    """The list has as many rows per policy and target as the document's figures."""
    counts = all_policies.warms.groupby(["policy", "at"]).size()
    for policy in all_policies.document["policies"]:
        for row in policy["targets"]:
            assert counts.get((policy["name"], row["target"]), 0) == row["warms"]


def test_a_second_replay_is_the_same(all_policies: ReplayResult, opens: Opens, split: TrainTestSplit) -> None:
    """Equal inputs give equal bytes."""
    again = replay(opens, split, IDEAL, ["hour-of-week", "oracle"], Settings())

    for name in ("hour-of-week", "oracle"):
        assert orjson.dumps(_named(again, name)) == orjson.dumps(_named(all_policies, name))


def test_test_weeks_do_not_reach_the_thresholds(
    all_policies: ReplayResult, opens: Opens, split: TrainTestSplit
) -> None:
    """A log without its last week gives the same thresholds."""
    _, _, end = split.micros()
    cut = replay(opens.before(end - 7 * 86_400_000_000), split, IDEAL, ["hour-of-week"], Settings())
    result, whole = (_named(one, "hour-of-week")["targets"] for one in (cut, all_policies))

    assert [row["threshold"] for row in result] == [row["threshold"] for row in whole]


def test_latency_and_lag_cost_hits(opens: Opens, split: TrainTestSplit) -> None:
    """Late landing and late knowledge lower the hits, even of the oracle."""
    slow = ReplayConfig(
        step=timedelta(hours=1), latency=timedelta(minutes=50), lag=timedelta(minutes=5), targets=(2.0,)
    )
    fast, late = (replay(opens, split, rules, ["hour-of-week"], Settings()) for rules in (IDEAL, slow))

    assert _at(_named(late, "hour-of-week"), 2.0) < _at(_named(fast, "hour-of-week"), 2.0)


def test_freshness_by_class_lengthens_lifetimes(
    all_policies: ReplayResult, opens: Opens, split: TrainTestSplit
) -> None:
    """Ranges that end yesterday or before stay fresh longer than three hours: fewer misses without warming."""
    rules = ReplayConfig(ttl=None, step=timedelta(hours=1), lag=timedelta(0), latency=timedelta(0), targets=(2.0,))
    result = _named(replay(opens, split, rules, ["none"], Settings()), "none")

    assert result["targets"][0]["calls"] < _named(all_policies, "none")["targets"][0]["calls"]


def test_unknown_keys_and_nan_are_dropped(opens: Opens) -> None:
    """Keys that have not been opened yet, and values that are NaN, are never warmed."""

    class Reckless(SimplePolicy):
        name = "reckless"

        def warm_values(self, at: int, history: Opens, timing: ReplayTiming) -> np.ndarray:
            return np.ones(history.key_count)

        def rank(self, history: Opens, decisions: DecisionTimes) -> Iterator[Ranking]:
            for index in range(len(decisions)):
                yield Ranking(index, np.arange(opens.key_count, dtype=np.int32), np.full(opens.key_count, np.nan))
                break

    start = int(opens.ts[0])
    period, timing = EvaluationPeriod(start, start + 7_200_000_000), ReplayTiming(3_600_000_000, 0, 0, 1)
    said = [scores for _, scores in iter_rankings(Reckless(), opens, period, timing)]

    assert [len(scores.key) for scores in said] == [0, 0]


def test_invalid_configurations_are_rejected() -> None:
    """Messages name the option."""
    with pytest.raises(BadRequest, match="the step"):
        ReplayConfig(step=timedelta(0))
    with pytest.raises(BadRequest, match="--ttl"):
        ReplayConfig(ttl=timedelta(0))
    with pytest.raises(BadRequest, match="--at"):
        ReplayConfig(targets=(0.5,))
    with pytest.raises(BadRequest, match="14 days"):
        TrainTestSplit(
            datetime(2026, 1, 1, tzinfo=UTC), datetime(2026, 1, 3, tzinfo=UTC), datetime(2026, 2, 1, tzinfo=UTC)
        )


@pytest.mark.slow
def test_the_reference_figures_come_out(shared_log: Path) -> None:
    """On the real logs the bounds equal the reference figures."""
    if shared_log.stem not in REFERENCE:
        pytest.skip("no reference figures for this log")
    *days, first, ratio, most = REFERENCE[shared_log.stem]
    moments = [datetime.fromisoformat(str(day)).replace(tzinfo=UTC) for day in days]
    split = TrainTestSplit(moments[0], moments[1], moments[2])
    opens = read_opens(str(shared_log), Settings(), split, 20)
    result = replay(opens, split, IDEAL, ["none", "everything"], Settings())

    assert result.document["log"]["scored_first_opens"] == first
    assert _at(_named(result, "none"), 2.0) == pytest.approx(ratio, abs=0.0005)
    assert max(row["multiple"] for row in _named(result, "everything")["curve"]) == pytest.approx(most, abs=0.05)
