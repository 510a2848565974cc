"""Pages that reload at a fixed interval do not count, and humans do."""

import math
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta
from itertools import pairwise
from pathlib import Path
from typing import Any

import numpy as np
import orjson
import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from adwarm.access_log import read_events
from adwarm.access_log.timestamps import from_micros, to_micros
from adwarm.patterns.ingest.run import ingest
from adwarm.patterns.open_history import load_slots
from adwarm.patterns.opens import keep_human_events
from adwarm.patterns.reloads import drop_reloads, drop_reloads_of_events
from adwarm.patterns.slot_counts import SlotAggregator
from adwarm.settings import Settings
from adwarm.store import Context
from adwarm.store.objects import ObjectStore
from tests.conftest import SHARED_DATA

START = datetime(2026, 3, 2, 22, 7, 13, tzinfo=UTC)
SECOND, HOUR = timedelta(seconds=1), timedelta(hours=1)


def _reload(
    interval: float, hours: float, jitter: float = 0.0, start: datetime = START, seed: int = 7
) -> list[datetime]:
    """Return the opens of a page that reloads every `interval` seconds, each up to `jitter` seconds late."""
    rng = np.random.default_rng(seed)
    late = rng.uniform(0, jitter, int(hours * 3600 / interval) + 1)
    return [start + timedelta(seconds=number * interval + each) for number, each in enumerate(late.tolist())]


def _events(opens: Iterable[datetime], date_range: str = "today") -> pa.Table:
    moments = pd.Series(list(opens), dtype="datetime64[us, UTC]")
    frame = pd.DataFrame({"ts": moments, "account_id": "act_1", "date_range": date_range, "report": "default"})
    table = pa.Table.from_pandas(frame, preserve_index=False)
    names = ("account_id", "date_range", "report")
    return pa.table({"ts": table["ts"], **{name: table[name].combine_chunks().dictionary_encode() for name in names}})


def _left(opens: Iterable[datetime]) -> list[datetime]:
    """Return the opens that count, by the rule for events."""
    found = drop_reloads_of_events(_events(opens))["ts"].cast(pa.int64()).to_pylist()
    return sorted(from_micros(moment) for moment in found)


def test_a_reloading_page_opened_once(subtests: pytest.Subtests) -> None:
    """The first load stays, over hours and over midnight; pages take time to load."""
    for interval in [30, 60, 300, 600, 900, 1800, 3600]:
        for jitter in [0.0, 0.02]:
            with subtests.test(interval=interval, jitter=jitter):
                opens = _reload(interval, 12, min(interval * jitter, 2))
                assert _left(opens) == _left(opens[::-1]) == opens[:1]


def test_what_may_be_a_human_stays(subtests: pytest.Subtests) -> None:
    """A short visit, a few opens and rare ones count."""
    for opens in [
        _reload(60, 0.9),  # less than an hour
        _reload(3600, 4),  # five opens
        _reload(7200, 24),  # too seldom to tell from a habit
    ]:
        with subtests.test(opens=opens):
            assert _left(opens) == opens


@pytest.mark.parametrize(
    ("interval", "opens", "is_screen"),
    [
        (720, 6, True),
        (900, 5, False),
        (600, 7, True),
        (599, 7, False),
        (5, 721, True),
        (4, 901, False),
        (3660, 6, True),
    ],
)
def test_a_screen_has_six_opens_in_an_hour_at_a_recognized_interval(interval: int, opens: int, is_screen: bool) -> None:
    """Six opens, one hour, and intervals of five seconds and an hour and a minute are just enough."""
    moments = [START + number * interval * SECOND for number in range(opens)]
    assert _left(moments) == (moments[:1] if is_screen else moments)
    assert _left([START + number * 3661 * SECOND for number in range(9)])[1:] != []


Slot = tuple[str, int, int, int]
"""Key, first and last open in seconds, and how many there are."""


def _slack(seconds: float) -> float:
    return min(30, max(3, 0.05 * seconds))


def _is_linked(one: Slot, other: Slot) -> bool:
    """Whether the distance of two slots is that of the opens within each."""
    cross = other[1] - one[2]
    inner = [(slot[2] - slot[1]) / (slot[3] - 1) for slot in (one, other) if slot[3] > 1]
    is_near = one[0] == other[0] and 5 <= cross <= 3660
    return is_near and all(abs(cross - each) <= _slack(cross) for each in inner)


def _list_runs(slots: list[Slot]) -> list[tuple[int, int]]:
    """Return the first and last slot of each run of links of equal length."""
    runs: list[tuple[int, int]] = []
    for index in range(1, len(slots)):
        if not _is_linked(slots[index - 1], slots[index]):
            continue
        cross = slots[index][1] - slots[index - 1][2]
        if runs and runs[-1][1] == index - 1:
            before = slots[index - 1][1] - slots[index - 2][2]
            if abs(cross - before) <= min(_slack(cross), _slack(before)):
                runs[-1] = (runs[-1][0], index)
                continue
        runs.append((index - 1, index))
    return runs


def _chance(run: list[Slot], interval: float) -> float:
    """Return a bound of the chance that independent opens are this regular: chi-squared, without its falling part."""
    several = [slot for slot in run if slot[3] > 1]
    squares = [((slot[2] - slot[1]) / (slot[3] - 1) / interval - 1) ** 2 * (slot[3] - 1) for slot in several]
    squares += [((other[1] - one[2]) / interval - 1) ** 2 for one, other in pairwise(run)]
    half = (len(squares) - 1) / 2
    return (sum(squares) / 2) ** half / math.gamma(half + 1)


def _left_by_hand(opens: dict[str, set[int]]) -> set[tuple[str, int]]:
    """Return what the rules leave, one slot and one run after the other."""
    slots, start = list[Slot](), int(START.timestamp())
    for key in sorted(opens):
        for quarter in sorted({(start + at) // 900 for at in opens[key]}):
            inside = [at for at in opens[key] if (start + at) // 900 == quarter]
            slots.append((key, min(inside), max(inside), len(inside)))
    left: dict[int, str] = {}
    end, interval = -1, 0.0
    for head, tail in _list_runs(slots):
        count, span = sum(slot[3] for slot in slots[head : tail + 1]), slots[tail][2] - slots[head][1]
        if count < 6 or span < 3600:
            continue
        each = span / (count - 1)
        if _chance(slots[head : tail + 1], each) > 1e-10:
            continue
        left |= dict.fromkeys(range(head, tail + 1), "none")
        goes_on = end >= 0 and slots[end][0] == slots[head][0] and slots[head][1] - slots[end][2] <= 3600
        if not (goes_on and abs(each - interval) <= _slack(each)) and head != end:
            left[head] = "first"
        end, interval = tail, each
    kept = {"none": 0, "first": 1, "all": 10**6}
    return {
        (key, at)
        for index, (key, first, last, _) in enumerate(slots)
        for at in sorted(at for at in opens[key] if first <= at <= last)[: kept[left.get(index, "all")]]
    }


screens = st.lists(
    st.tuples(
        st.sampled_from([240, 300, 480, 720, 900, 1200, 2400, 3600]),
        st.integers(5, 9),
        st.lists(st.sampled_from([0, 0, 0, 3, 4, 12, 15, 30, 31]), min_size=3, max_size=3),
        st.sampled_from([0, 60, 3600, 3601, 7000]),
    ),
    min_size=1,
    max_size=4,
)


@given(screens, screens)
def test_what_is_left_follows_the_rules(one: list[Any], other: list[Any]) -> None:
    """Screens with late reloads, pauses and other intervals: the arrays leave what a loop over the rules leaves."""
    opens: dict[str, set[int]] = {"today": set(), "last_7d": set()}
    for key, parts in (("today", one), ("last_7d", other)):
        at = 0
        for interval, count, late, pause in parts:
            for number in range(count):
                opens[key].add(at + late[number % len(late)])
                at += interval
            at += pause
    events = pa.concat_tables([_events([START + at * SECOND for at in sorted(opens[key])], key) for key in opens])
    left = drop_reloads_of_events(events).to_pylist()
    found = {(row["date_range"], round((row["ts"] - START.replace(microsecond=0)).total_seconds())) for row in left}
    assert found == _left_by_hand(opens)


def test_a_screen_goes_on_after_a_pause_of_an_hour() -> None:
    """Its first load after the pause is a reload; after a longer one, or at another interval, it counts again."""
    first = _reload(600, 3)
    for pause, interval, goes_on in ((3000, 600, True), (3600, 600, True), (4200, 600, False), (3000, 900, False)):
        second = _reload(interval, 3, start=first[-1] + pause * SECOND)
        assert _left([*first, *second]) == [first[0], *([] if goes_on else second[:1])]


def test_a_reload_may_be_half_a_minute_late() -> None:
    """The last one 30 seconds late is of the screen, 31 seconds late it is somebody's."""
    for late, left in ((30, 1), (31, 2)):
        opens = [START + number * 1800 * SECOND for number in range(12)]
        assert len(_left([*opens, opens[-1] + (1800 + late) * SECOND])) == left


@given(interval=st.floats(4, 12) | st.floats(12, 3700), seed=st.integers(0, 2**32), hours=st.integers(2, 72))
def test_people_who_open_independently_stay(interval: float, seed: int, hours: int) -> None:
    """However dense a report's opens are, and however many of them have equal distances by chance."""
    rng = np.random.default_rng(seed)
    at = np.cumsum(rng.exponential(interval, int(hours * 3600 / interval) + 1))
    opens = [START + timedelta(seconds=seconds) for seconds in at.tolist()]
    assert len(_left(opens)) == len(opens)


@given(interval=st.integers(20, 3600), seed=st.integers(0, 2**32))
def test_a_page_that_loads_slowly_is_found_after_some_hours(interval: int, seed: int) -> None:
    """Twelve opens and three hours are enough to tell it from people when loading takes up to 2 % of the interval."""
    opens = _reload(interval, max(3.0, 12 * interval / 3600), min(0.02 * interval, 15), seed=seed)
    assert _left(opens) == opens[:1]


def test_a_human_beside_a_screen_still_counts() -> None:
    """The quarter of an hour in which a human opens the report too stays; the screen's others do not."""
    screen = _reload(300, 12)
    human = START + timedelta(hours=5, seconds=100)
    left = _left([*screen, human])
    assert human in left
    assert len(left) <= 1 + 5 + 1
    assert left[0] == screen[0]


def test_of_two_first_opens_at_the_same_moment_one_stays() -> None:
    """In each of two keys."""
    opens = [START, *_reload(30, 2)]
    events = pa.concat_tables([_events(opens, name) for name in ("today", "last_7d")])
    assert drop_reloads_of_events(events)["date_range"].to_pylist() == ["today", "last_7d"]


@pytest.mark.parametrize(("start", "hours"), [("2026-03-02T23:30:13Z", 3.0), ("2026-03-02T22:07:13Z", 2.3)])
def test_the_days_beside_a_day_decide(start: str, hours: float) -> None:
    """A screen with less than an hour on one of two days has one open on the first."""
    slots = SlotAggregator()
    slots.add_slots(_slots(_reload(300, hours, start=datetime.fromisoformat(start))))
    assert [sum(table["opens"].to_pylist()) for table in drop_reloads(table for _, table in slots.days())] == [1, 0]


def test_another_report_is_not_touched() -> None:
    """Reloads of one key say nothing about another."""
    other = [START + timedelta(minutes=minutes) for minutes in (3, 50, 51, 200)]
    events = pa.concat_tables([_events(_reload(60, 5)), _events(other, "last_7d")])
    left = drop_reloads_of_events(events).to_pylist()
    assert [row["date_range"] for row in left].count("last_7d") == 4
    assert len(left) == 5


def test_nothing_is_known_of_what_comes_later() -> None:
    """A screen that was switched on less than an hour ago counts as of that time."""
    opens = _reload(300, 12)
    early = [at for at in opens if at < START + HOUR * 0.75]
    assert _left(early) == early


@given(cuts=st.lists(st.integers(0, 12 * 60), max_size=6), interval=st.sampled_from([60, 300, 900]))
def test_how_slots_come_together_does_not_matter(cuts: list[int], interval: int) -> None:
    """Counted at once or in any parts, and by day: the same slots are left."""
    opens = _reload(interval, 12) + [START + timedelta(minutes=minutes) for minutes in cuts]
    bounds = sorted({0, *cuts, 13 * 60})
    parts = SlotAggregator()
    for first, last in pairwise(bounds):
        part = SlotAggregator()
        window = (START + timedelta(minutes=first), START + timedelta(minutes=last))
        some = [at for at in opens if window[0] <= at < window[1]]
        if some:
            part.add_slots(_slots(some))
        parts.merge(part)
    whole = SlotAggregator()
    whole.add_slots(_slots(opens))
    found = [table.to_pylist() for table in drop_reloads(table for _, table in parts.days())]
    assert found == [table.to_pylist() for table in drop_reloads(table for _, table in whole.days())]


def _slots(opens: list[datetime]) -> pa.Table:
    rows = [{"account_id": "act_1", "date_range": "today", "report": "default", "time_zone": "UTC"} for _ in opens]
    slot = [from_micros(to_micros(at) // 900_000_000 * 900_000_000) for at in opens]
    return pa.Table.from_pylist([
        row | {"slot": at, "opens": 1, "first_ts": ts, "last_ts": ts}
        for row, at, ts in zip(rows, slot, opens, strict=True)
    ])


def test_stored_slots_are_loaded_without_reloads(sqlite_engine: Engine, objects: ObjectStore, tmp_path: Path) -> None:
    """Read hour by hour, over midnight, as of any time; a window that starts within a run holds none of it."""
    screen = _reload(300, 12)
    human = [START + timedelta(minutes=minutes) for minutes in (3, 191, 423)]
    path = tmp_path / "log.jsonl"
    context = Context(sqlite_engine, objects, Settings(access_log={"url": str(path)}))
    for hour in range(13):
        until = START + (hour + 1) * HOUR
        with path.open("ab") as file:
            for at in (at for at in (*screen, *human) if until - HOUR <= at < until):
                key = {"account_id": "act_1", "date_range": "last_7d" if at in human else "today"}
                file.write(orjson.dumps({"ts": at, **key}) + b"\n")
        ingest(context, until)
    found = load_slots(context, START - HOUR, START + 13 * HOUR)
    assert found["opens"].tolist() == [1, 1, 1, 1]
    assert sorted(found["first_ts"].dt.to_pydatetime().tolist()) == sorted([screen[0], *human])
    later = load_slots(context, START + 4 * HOUR, START + 13 * HOUR)
    assert later["date_range"].tolist() == ["last_7d"]


def _read(log: Path) -> pa.Table:
    tables = [
        pa.Table.from_batches([keep_human_events(batch)]).select(["ts", "account_id", "date_range", "report"])
        for batch in read_events(str(log), Settings())
    ]
    return pa.concat_tables(tables).unify_dictionaries()


@pytest.mark.slow
def test_real_people_are_not_taken_for_screens(shared_log: Path) -> None:
    """Of the opens of real logs, none is a reload."""
    real = _read(shared_log)
    assert len(drop_reloads_of_events(real)) == len(real)


@pytest.mark.slow
def test_screens_among_real_people_are_found(subtests: pytest.Subtests) -> None:
    """A screen that runs for ten hours a day on a report that people open too leaves few opens behind."""
    path = SHARED_DATA / "loan_desk.parquet"
    if not path.exists():
        pytest.skip("the logs are not here")
    real = _read(path)
    counts = pd.Series(real["account_id"].to_pylist()).value_counts()
    account = str(counts.index[len(counts) // 2])
    mine = [row for row in real.to_pylist() if row["account_id"] == account]
    first = min(row["ts"] for row in mine)
    date_range = mine[0]["date_range"]
    people = [row["ts"] for row in mine if row["date_range"] == date_range]
    for interval in (60, 300, 900):
        with subtests.test(interval=interval):
            screen = [at for day in range(20) for at in _reload(interval, 10, 1, first + timedelta(days=day))]
            left = set(_left([*people, *screen]))
            assert set(people) <= left
            assert len(left - set(people)) < 0.1 * len(screen) + 20
