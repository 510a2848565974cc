"""Policies: loading by name, and the values of the baselines."""

import sys
from datetime import timedelta
from pathlib import Path

import numpy as np
import pandas as pd
import pytest

from adwarm.foundation.errors import BadRequest
from adwarm.foundation.local_hours import hours_of_week
from adwarm.patterns.opens import Opens, opens_from_frame
from adwarm.replay import baselines
from adwarm.replay.baselines import hour_probabilities, idle_window
from adwarm.replay.entry_lifetimes import FixedLifetime
from adwarm.replay.log_split import TrainTestSplit
from adwarm.replay.policies import BUILT_IN, FORECASTS, load_policies
from adwarm.replay.policy import ReplayTiming
from adwarm.replay.replay_run import ReplayConfig, replay
from adwarm.settings import Settings

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


def test_viewed_recently_forgets_after_seven_days() -> None:
    """A later last open gives a higher value; after seven days it is 0."""
    opens = _opens((0, "act_1"), (100, "act_2"), (150, "act_3"))
    score = baselines.ViewedRecently().warm_values(169 * HOUR, opens, TERMS)

    assert score[0] == 0 < score[1] < score[2]


def test_same_hour_repeats_the_day() -> None:
    """An open in the hour that begins a day or a week before gives 1."""
    opens = _opens((10.5, "act_1"), (11.5, "act_2"))

    assert baselines.same_hour_yesterday().warm_values(34 * HOUR, opens, TERMS).tolist() == [1, 0]
    assert baselines.same_hour_last_week().warm_values(179 * HOUR, opens, TERMS).tolist() == [0, 1]


def test_peak_hours_warm_ten_minutes_before() -> None:
    """Only the decision whose step holds ten minutes to a peak warms anything."""
    opens = _opens(*[(hour + n * 24.0, "act_1") for n in range(6) for hour in (9, 12, 15)])
    policy, quarter = baselines.PeakHours(), ReplayTiming(HOUR // 4, 0, 0, 3 * HOUR)
    policy.fit(opens, quarter)
    moments = [144 * HOUR + minute * 60_000_000 for minute in range(0, 24 * 60, 15)]
    warmed = [m for m in moments if policy.warm_values(m, opens, quarter).any()]

    assert [(m - 144 * HOUR) // 60_000_000 for m in warmed] == [8 * 60 + 45, 11 * 60 + 45, 14 * 60 + 45]


def test_hours_of_the_week_are_chances() -> None:
    """A weekly open makes its hour likely and other hours unlikely; more weeks make it likelier."""
    logs = ([(n * 168.0 + at, name) for n in range(weeks) for at, name in HOURS_OPENED] for weeks in (3, 9))
    few, many = (_opens(*log) for log in logs)
    hour = int(hours_of_week(np.array([9]))[0])
    short, long = (hour_probabilities(opens, own=True) for opens in (few, many))

    assert 0 < short[0, hour] < long[0, hour] <= 1
    assert long[0].argmax() == hour
    assert long[0, (hour + 5) % 168] < 0.01


def test_windows_of_idle_times() -> None:
    """Peaked gaps give head and tail; scattered ones the whole range; long ones a forecast with a margin."""
    peaked = idle_window(np.full(50, 60.0))
    assert peaked == (pytest.approx(54.0), pytest.approx(67.1))
    assert idle_window(np.arange(240.0)) == (0.0, 240.0)
    assert idle_window(np.full(5, 1440.0)) == (pytest.approx(1224.0), pytest.approx(1656.0))
