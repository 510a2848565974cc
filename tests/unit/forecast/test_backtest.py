"""The quick look at how good a forecast is."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from adwarm.forecast.backtest import backtest
from adwarm.settings import Settings

from .conftest import MakeOpens

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)
SPLITS = {"helpdesk": "2012-07-12", "loan_desk": "2012-02-02", "page_opens": "2018-03-15",
          "scheduled_flights": "2013-03-14", "sparse_customers": "2011-11-10"}  # fmt: skip


def _rhythms(make_opens: MakeOpens) -> pd.DataFrame:
    weeks = range(1, 9)
    return pd.concat([
        make_opens([MONDAY - timedelta(weeks=week) + timedelta(hours=hour) for week in weeks], f"act_{hour}")
        for hour in range(6, 20)
    ])  # fmt: skip


def test_regular_keys_are_foreseen(make_opens: MakeOpens) -> None:
    """Keys with a rhythm of their own are foreseen far better than by everybody's profile."""
    found = backtest(_rhythms(make_opens), Settings(), MONDAY)
    assert found["skill"] > 0.5
    assert found["base_rate"] == pytest.approx(1 / 168)
    assert 0 < found["brier"] < found["base_rate"]


def test_a_short_log_is_not_scored(make_opens: MakeOpens) -> None:
    """With less than a week before the last one there is nothing honest to say."""
    assert backtest(make_opens([MONDAY - timedelta(days=9)]), Settings(), MONDAY) == {}
    assert backtest(make_opens([]), Settings(), MONDAY) == {}


def test_the_figures_do_not_look_ahead(make_opens: MakeOpens) -> None:
    """Opens at or after the end of training change no figure."""
    opens = _rhythms(make_opens)
    later = make_opens([MONDAY + timedelta(hours=hour) for hour in range(50)], "act_6")
    assert backtest(pd.concat([opens, later]), Settings(), MONDAY) == backtest(opens, Settings(), MONDAY)


def test_it_is_calm_on_real_logs(shared_log: Path) -> None:
    """On every real log, regular or not, the forecast is at worst a little below everybody's profile."""
    log = pd.read_parquet(shared_log).sort_values(["account_id", "date_range", "ts"], kind="stable")
    until = pd.Timestamp(SPLITS[shared_log.stem], tz="UTC")
    log = log[(log["ts"] < until) & (log["ts"] >= until - pd.Timedelta(days=56))]
    gap = log.groupby(["account_id", "date_range"])["ts"].diff()
    opens = log[gap.isna() | (gap >= pd.Timedelta(minutes=30))].assign(report="default")
    found = backtest(opens, Settings(), until.to_pydatetime())
    assert found["skill"] > (0.2 if shared_log.stem == "scheduled_flights" else -0.1)
