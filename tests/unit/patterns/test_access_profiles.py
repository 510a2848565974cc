"""The patterns in SQL follow the stored opens, once a day, and come back as frames."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest
from sqlalchemy import Engine

from adwarm.foundation.errors import BadRequest
from adwarm.patterns.access_profiles import load_access_profiles, load_patterns, load_popular_ranges, update_patterns
from adwarm.patterns.ingest.run import ingest
from adwarm.settings import Settings
from adwarm.store import Context
from adwarm.store.objects import ObjectStore

MONDAY = datetime(2026, 9, 7, tzinfo=UTC)
END = MONDAY + timedelta(weeks=8)


@pytest.fixture
def context(engine: Engine, objects: ObjectStore, tmp_path: Path) -> Context:
    """Eight weeks of opens at nine and ten in Berlin on working days, by act_1. One open by act_2 at first."""
    moments = pd.date_range("2026-09-07", periods=56, tz="Europe/Berlin")
    working = moments[moments.day_of_week < 5]
    opens = [working + pd.DateOffset(hours=9), working + pd.DateOffset(hours=10), moments[1:2]]
    frame = pd.concat([
        pd.DataFrame({"ts": part.tz_convert("UTC"), "account_id": name, "date_range": "last_7d"})
        for part, name in zip(opens, ("act_1", "act_1", "act_2"), strict=True)
    ])
    frame.assign(time_zone="Europe/Berlin").sort_values("ts").to_parquet(tmp_path / "log.parquet", index=False)
    context = Context(engine, objects, Settings(access_log={"url": str(tmp_path / "log.parquet")}))
    ingest(context, END)
    return context


def test_patterns_are_stored_and_loaded(context: Context) -> None:
    """Frames have the account's and everybody's hours, ranges and a readable summary."""
    update = update_patterns(context, END, END)
    assert (update.accounts, update.removed, update.busy, update.quiet, update.why) == (2, 0, 1, 1, "")
    hours = load_patterns(context, "1")
    assert hours.shape == (168, 14)
    peaks = hours[hours["is_peak"]]
    assert list(zip(peaks["weekday"], peaks["hour"], strict=True)) == [(day, h) for day in range(1, 6) for h in (9, 10)]
    assert set(load_patterns(context)["account_id"]) == {"all", "act_1", "act_2"}
    ranges = load_popular_ranges(context, "act_1")
    assert ranges[["date_range", "opens", "share"]].to_numpy().tolist() == [["last_7d", 80, 1]]
    profiles = load_access_profiles(context).set_index("account_id")
    assert profiles.loc["act_1", "peak_hours"].startswith("Mon 09:00, 10:00; Tue 09:00, 10:00; ")
    assert profiles.loc["act_1", "quiet_hours"] == "Mon-Thu 11:00-09:00; Fri 11:00 to Mon 09:00"
    assert profiles.loc["act_2", "evidence"] == "too few first opens: 1 in 7.9 weeks"


def test_patterns_are_stored_once_a_day(context: Context) -> None:
    """A second call within a day, or one for an earlier time, stores nothing; force and the next day do."""
    update_patterns(context, END - timedelta(days=2), END)
    assert update_patterns(context, END - timedelta(days=1, hours=1), END).why.startswith("patterns up to 2026-10-31")
    assert update_patterns(context, END - timedelta(days=9), END).why
    assert update_patterns(context, END - timedelta(days=1), END).accounts == 2
    assert update_patterns(context, END - timedelta(days=1), END, force=True).accounts == 2


def test_accounts_that_nobody_opens_any_more_vanish(context: Context) -> None:
    """Patterns cover the days of history in the settings; who was not opened in them has no rows."""
    update_patterns(context, END, END)
    settings = Settings(forecast={"history_days": 7})
    update = update_patterns(Context(context.engine, context.objects, settings), END, END, force=True)
    assert (update.accounts, update.removed) == (1, 1)
    assert set(load_access_profiles(context)["account_id"]) == {"all", "act_1"}


def test_nothing_is_stored_before_a_log_was_read(sqlite_engine: Engine, objects: ObjectStore) -> None:
    """Without opens there are no rows, frames are empty with their columns, and wrong ids are refused."""
    context = Context(sqlite_engine, objects, Settings())
    assert update_patterns(context, END, END).why == "no open is stored yet"
    assert load_patterns(context).empty
    assert "is_peak" in load_patterns(context).columns
    with pytest.raises(BadRequest, match="up to 64 letters"):
        load_patterns(context, "every one")
