"""Days served through the read API, whose own open log is all that the forecast learns from.

`python -m pytest tests/simulation/test_served_days.py -m '' -s` prints the figures.
"""

import shutil
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pandas as pd
import pytest

from adwarm.forecast.training.train import train_and_promote
from adwarm.model import TokenScope
from adwarm.patterns.open_history import load_slots
from tests.conftest import SHARED_DATA
from tests.simulation.served import (
    DAY,
    HOUR,
    ReaderOpen,
    Served,
    ServedHome,
    between,
    find_first_opens,
    hours_of,
    make_log,
)

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


@dataclass
class Comparison:
    """The same days with and without warming.

    Attributes:
        with_warming: opens of the days on which plans were carried out.
        without: the same opens in a copy of the home that only its readers fill.
        warms: warms that were planned on these days.
        learning: opens of the days before, from which the forecast learned.
    """

    with_warming: Served
    without: Served
    warms: int
    learning: Served

    def __str__(self) -> str:
        before, after = self.without, self.with_warming
        return (
            f"{self.learning.opens:,} opens logged before; then {after.first_opens:,} first opens, fresh: "
            f"{before.first_open_ratio:.3f} without warming, {after.first_open_ratio:.3f} with {self.warms:,} warms"
        )


def compare(
    folder: Path, opens: Sequence[ReaderOpen], zone: str, start: datetime, days: int, warmed: int
) -> Comparison:
    """Serve `days` days without warming, then `warmed` more both ways; every day begins with a training.

    On a day with warming, each hour begins with reading the rotated open log, a plan, and its warms.
    """
    home = ServedHome(folder / "home", zone, start)
    home.add_accounts(item.key.account_id for item in opens)
    headers = home.make_headers(TokenScope.ENQUEUE)
    learning = Served()
    for number in range(days):
        morning = start + DAY * number
        day = home.open_all(between(opens, morning, morning + DAY), headers)
        learning = _sum(learning, day)
        home.learn(morning + DAY)
    split = start + DAY * days
    home.close()
    shutil.copytree(folder / "home", folder / "control")
    control = ServedHome(folder / "control", zone, split)
    home = ServedHome(folder / "home", zone, split)
    with_warming, without, warms = Served(), Served(), 0
    for number in range(warmed):
        morning = split + DAY * number
        home.learn(morning)
        train_and_promote(home.runtime.context, morning, morning)
        for hour in hours_of(morning):
            home.learn(hour)
            warms += home.warm(hour)
            with_warming = _sum(with_warming, home.open_all(between(opens, hour, hour + HOUR), headers))
        without = _sum(without, control.open_all(between(opens, morning, morning + DAY), headers))
    home.learn(split + DAY * warmed)
    _check_log(home, [learning, with_warming])
    home.close()
    control.close()
    return Comparison(with_warming, without, warms, learning)


def _check_log(home: ServedHome, parts: Sequence[Served]) -> None:
    """Check that every request is in the open log, and that one which came back for its report counts once."""
    logged, everything = home.list_logged(), sum(part.opens for part in parts)
    fetched = sum(part.answers.get("fetched", 0) for part in parts)
    slots = load_slots(home.runtime.context, logged[0]["ts"] - HOUR, logged[-1]["ts"] + HOUR)

    assert len(logged) == everything + fetched
    assert int(slots["opens"].sum()) == everything


def _sum(one: Served, other: Served) -> Served:
    answers = {name: one.answers.get(name, 0) + other.answers.get(name, 0) for name in {*one.answers, *other.answers}}
    return Served(
        one.opens + other.opens,
        one.first_opens + other.first_opens,
        one.first_hits + other.first_hits,
        answers,
    )


@pytest.mark.slow
def test_the_open_log_alone_warms_the_next_day(tmp_path: Path) -> None:
    """On a made-up log, nearly every first open of a warmed day is fresh, and few are without warming."""
    opens = find_first_opens(make_log(MONDAY, 16))
    found = compare(tmp_path, opens, "UTC", MONDAY, days=15, warmed=1)
    print(found)

    assert found.with_warming.first_opens == found.without.first_opens == 8
    assert found.without.first_open_ratio <= 0.25
    assert found.with_warming.first_open_ratio >= found.without.first_open_ratio + 0.5


@pytest.mark.slow
@pytest.mark.timeout(900)
def test_a_real_log_served_through_the_api(tmp_path: Path) -> None:
    """On a real log, warming leaves at most a third of the first opens of three days that were not fresh without it."""
    start, days = datetime(2012, 5, 28, tzinfo=UTC), 35
    path = SHARED_DATA / "helpdesk.parquet"
    if not path.is_file():
        pytest.skip("the real logs are not on this machine")
    events = pd.read_parquet(path)
    events = events[(events["ts"] >= start) & (events["ts"] < start + timedelta(days=days + 3))]
    zone = str(events["time_zone"].iat[0])
    learned = events[events["ts"] < start + timedelta(days=days)]
    firsts = pd.Series([
        (item.key.account_id, item.key.date_range) for item in find_first_opens(learned) if item.is_first
    ])
    chosen = set(firsts.value_counts().head(6).index)
    is_chosen = [pair in chosen for pair in zip(events["account_id"], events["date_range"], strict=True)]
    found = compare(tmp_path, find_first_opens(events[is_chosen]), zone, start, days, warmed=3)
    print(found)

    not_fresh = 1 - found.without.first_open_ratio
    assert not_fresh >= 0.1
    assert 1 - found.with_warming.first_open_ratio <= not_fresh / 3
