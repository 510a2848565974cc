"""No policy looks ahead: a log that is cut at any moment gives the same warms before it."""

from datetime import timedelta

import pandas as pd
import pytest
from hypothesis import HealthCheck, Phase, given
from hypothesis import settings as trials
from hypothesis import strategies as st

from adwarm.patterns.opens import opens_from_frame
from adwarm.replay.policies import BUILT_IN, FORECASTS
from adwarm.replay.replay_run import ReplayConfig, TrainTestSplit, replay, select_keys
from adwarm.settings import Settings
from tests.support.training import shorten_training

COLUMNS = ["ts", "account_id", "date_range", "at", "confidence"]
WHOLE: dict[str, pd.DataFrame] = {}


def _warms(name: str, log: pd.DataFrame, split: TrainTestSplit) -> pd.DataFrame:
    start, test, _ = split.micros()
    opens = select_keys(opens_from_frame(log), start, test, 0)
    rules = ReplayConfig(step=timedelta(hours=1), targets=(1.5, 2.0, 3.0, 50.0))
    warms = replay(opens, split, rules, [name], Settings()).warms
    return warms.sort_values(COLUMNS, ignore_index=True)


TRAINED = ("adwarm", "forecast-hour-of-week")
"""These stand for all policies with a forecast; that no kind of forecast looks ahead is tested where it is trained."""


@pytest.mark.parametrize(
    "name",
    [
        *(name for name in BUILT_IN if name not in {"oracle", "none", "adwarm", *FORECASTS}),
        *(pytest.param(name, marks=pytest.mark.slow) for name in TRAINED),
    ],
)
@trials(
    max_examples=2,
    phases=[Phase.explicit, Phase.generate],
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(minutes=st.integers(60, 13 * 24 * 60))
def test_cutting_the_log_changes_no_warm_before_the_cut(
    name: str, minutes: int, office: pd.DataFrame, split: TrainTestSplit, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Opens after a moment of the test weeks do not change the warms that start before it."""
    shorten_training(monkeypatch)
    cut = pd.Timestamp(split.test_from + timedelta(minutes=minutes))
    if name not in WHOLE:
        WHOLE[name] = _warms(name, office, split)
    whole = WHOLE[name]
    seen = _warms(name, office[office["ts"] < cut], split)

    assert len(whole)
    assert _rows(seen, cut) == _rows(whole, cut)


def test_the_oracle_is_caught(office: pd.DataFrame, split: TrainTestSplit) -> None:
    """The test above can fail: a policy that looks ahead warms differently when the log ends."""
    morning = pd.Timestamp(split.test_from + timedelta(days=2, hours=6))
    cut = office.loc[office["ts"] > morning, "ts"].min() - timedelta(seconds=1)
    whole, seen = _warms("oracle", office, split), _warms("oracle", office[office["ts"] < cut], split)

    assert _rows(seen, cut) != _rows(whole, cut)


def _rows(warms: pd.DataFrame, cut: pd.Timestamp) -> list[tuple[object, ...]]:
    return list(warms.loc[warms["ts"] < cut, COLUMNS].itertuples(index=False, name=None))
