"""First opens by account and local hour equal a count of single events, however the slots are split."""

from collections import Counter
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import Engine

from adwarm.model import Account
from adwarm.patterns import open_counts
from adwarm.patterns.access_profiles import profile_and_count_log
from adwarm.patterns.ingest.run import ingest
from adwarm.patterns.open_counts import count_first_opens, load_open_counts
from adwarm.patterns.slot_counts import SlotAggregator
from adwarm.settings import Settings
from adwarm.store import Context, accounts
from adwarm.store.objects import ObjectStore
from tests.unit.patterns.conftest import Event, count_opens, event_batch

START = datetime(2026, 3, 1, tzinfo=UTC)  # New York changes its clocks on the 8th, Berlin on the 29th
EVENT = st.tuples(
    st.one_of(st.integers(0, 60 * 60 * 24 * 40), st.integers(7 * 86_400 - 4_000, 7 * 86_400 + 40_000)),
    st.sampled_from(["act_1", "act_2", "act_30"]),
    st.sampled_from(["today", "last_7d"]),
    st.sampled_from(["UTC", "America/New_York", "Europe/Berlin", "Asia/Kathmandu", ""]),
    st.sampled_from(["human", "human", "embedded", "api"]),
)
QUIET = timedelta(minutes=30)


def _first_events(events: list[Event]) -> list[Event]:
    """Return the first opens, one event at a time."""
    latest: dict[tuple[str, str], int] = {}
    first = []
    for event in sorted(events):
        at, account, name, _, actor = event
        if actor in {"human", "embedded"}:
            if at - latest.get((account, name), -(10**9)) >= QUIET.total_seconds():
                first.append(event)
            latest[account, name] = at
    return first


@given(st.lists(EVENT, max_size=60), st.sampled_from([1, 3, 50_000]))
def test_counts_equal_a_count_of_single_events(events: list[Event], rows_at_once: int) -> None:
    """Hours, zones, ranges, keys and starts of each account are exact, over midnight and changes of clocks."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(open_counts, "_ROWS_AT_ONCE", rows_at_once)
        counts = count_opens(START, events, "Asia/Kolkata")

    first = _first_events(events)
    hours: Counter[tuple[str, datetime]] = Counter()
    for at, account, _, zone, _ in first:
        local = (START + timedelta(seconds=at)).astimezone(ZoneInfo(zone or "Asia/Kolkata"))
        hours[account, local.replace(minute=0, second=0, tzinfo=None)] += 1
    assert counts.hours.to_dict() == hours
    assert counts.zones.to_dict() == Counter((event[1], event[3] or "Asia/Kolkata") for event in first)
    assert counts.ranges.to_dict() == Counter(event[1:3] for event in first)
    assert counts.keys.to_dict() == Counter(account for account, _ in {event[1:3] for event in first})
    started = {event[1]: START + timedelta(seconds=event[0]) for event in reversed(first)}
    assert counts.started.to_dict() == started


def test_a_session_over_midnight_is_one_first_open() -> None:
    """The latest open of the day before is remembered, also where its slot was read as a table of another zone."""
    events = [
        (86_400 - 600 + 60 * n, "act_1", "today", zone, "human") for n, zone in enumerate(("UTC", "Asia/Tokyo") * 10)
    ]
    assert count_opens(START, events).hours.tolist() == [1]


def test_tables_of_a_day_may_come_in_any_order() -> None:
    """A day's slots are sorted together: later hours may be in an object that is read first."""
    batches = [event_batch(START, [(at, "act_1", "today", "UTC", "human")]) for at in (7_200, 6_000)]
    day = pa.concat_tables([_slots(batch) for batch in batches])
    assert count_first_opens([day], "UTC").hours.tolist() == [1]


def _slots(batch: pa.RecordBatch) -> pa.Table:
    slots = SlotAggregator()
    slots.add(batch)
    return slots.table()


def test_stored_slots_take_the_accounts_zone_where_the_log_names_none(
    sqlite_engine: Engine, objects: ObjectStore, tmp_path: Path
) -> None:
    """The reader zone is the account's, else the default; the window is half-open."""
    at = datetime(2026, 3, 7, 22, tzinfo=UTC)
    accounts.save(sqlite_engine, [Account("act_1", reader_zone="Asia/Tokyo")], at)
    path = tmp_path / "log.parquet"
    moments = [at, at, at + timedelta(days=1), at + timedelta(days=2)]
    names = ["act_1", "act_2", "act_1", "act_1"]
    pd.DataFrame({"ts": moments, "account_id": names, "date_range": "today"}).to_parquet(path, index=False)
    context = Context(sqlite_engine, objects, Settings(access_log={"url": str(path)}, default_zone="Europe/Berlin"))
    ingest(context, at + timedelta(days=3))
    counts = load_open_counts(context, at, at + timedelta(days=2))
    assert counts.zones.to_dict() == {("act_1", "Asia/Tokyo"): 2, ("act_2", "Europe/Berlin"): 1}


@pytest.mark.slow
@pytest.mark.parametrize("shared_log", ["loan_desk", "page_opens"], indirect=True)
def test_real_logs_give_the_first_opens_of_their_events(shared_log: Path) -> None:
    """Each account has the first opens that a comparison of neighboring events gives."""
    frame = pd.read_parquet(shared_log).sort_values(["account_id", "date_range", "ts"])
    gap = frame.groupby(["account_id", "date_range"])["ts"].diff()
    expected = frame[gap.isna() | (gap >= QUIET)]["account_id"].value_counts().to_dict()
    profiles, _ = profile_and_count_log(str(shared_log), Settings(access_log={"url": str(shared_log)}))
    assert profiles.accounts["first_opens"].drop("all").to_dict() == expected
