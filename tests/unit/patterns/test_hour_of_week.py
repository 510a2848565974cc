"""Counts by hour of the reader's week agree with a plain count, in one piece or in many."""

import io
import os
import subprocess
import sys
from datetime import UTC, datetime, timedelta
from pathlib import Path
from zoneinfo import ZoneInfo

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.access_log.event_schema import EVENT_SCHEMA
from adwarm.patterns.hour_of_week import HOUR_SCHEMA, HourOfWeekTable, count_log, write_table
from adwarm.patterns.slot_counts import SlotAggregator
from adwarm.settings import Settings

ZONES = [
    "UTC",
    "America/New_York",
    "America/Sao_Paulo",
    "Europe/Berlin",
    "Asia/Kolkata",
    "Asia/Kathmandu",
    "Australia/Adelaide",
    "Australia/Lord_Howe",
]
START = datetime(2026, 3, 1, tzinfo=UTC)  # six weeks over four changes of clocks
Event = tuple[int, str, str, str, str]

EVENT = st.tuples(
    st.one_of(
        st.integers(0, 60 * 60 * 24 * 42),
        # around the changes of New York, Berlin and Adelaide
        st.builds(
            lambda day, second: day * 86_400 + second,
            st.sampled_from([7, 28, 34, 35]),
            st.integers(0, 86_399),
        ),
    ),
    st.sampled_from([f"act_{n}" for n in (1, 2, 30, 4)]),
    st.sampled_from(["today", "last_7d", "2026-01-01..2026-01-31"]),
    st.sampled_from([*ZONES, ""]),
    st.sampled_from(["human", "human", "embedded", "api"]),
)


def _batch(events: list[Event]) -> pa.RecordBatch:
    rows = [
        {
            "ts": START + timedelta(seconds=at),
            "account_id": account,
            "date_range": name,
            "report": "default",
            "time_zone": zone,
            "actor": actor,
            "hit": None,
            "latency_ms": None,
        }
        for at, account, name, zone, actor in events
    ]
    return pa.RecordBatch.from_pylist(rows, schema=EVENT_SCHEMA)


def _table(*parts: list[Event], default_zone: str = "UTC", zones: dict[str, str] | None = None) -> HourOfWeekTable:
    table = HourOfWeekTable(default_zone, zones)
    for events in parts:
        table.add(_batch(events))
    return table


def _counted(events: list[Event], default_zone: str = "UTC", zones: dict[str, str] | None = None) -> list[object]:
    """The same by pandas and zoneinfo, one event at a time."""
    rows = []
    for at, account, name, zone, actor in events:
        if actor in {"human", "embedded"}:
            own = zone or (zones or {}).get(account, "") or default_zone
            local = (START + timedelta(seconds=at)).astimezone(ZoneInfo(own))
            rows.append((account, name, local.weekday() * 24 + local.hour))
    names = ["account_id", "date_range", "hour_of_week"]
    counts = pd.DataFrame(rows, columns=names).groupby(names).size().rename("opens").reset_index()
    return counts.to_dict("records")


@given(st.lists(EVENT, max_size=80))
def test_counts_are_those_of_a_plain_count(events: list[Event]) -> None:
    """Eight zones, whole, half and quarter hours off, over changes of clocks; programs do not count."""
    assert _table(events).table().to_pylist() == _counted(events)


@given(st.lists(EVENT, max_size=80), st.integers(0, 80), st.integers(1, 7))
def test_parts_add_up_to_the_whole(events: list[Event], cut: int, size: int) -> None:
    """Batches of any size, merged tables, stored partials and slots all give the table of the whole."""
    whole = _table(events).table()
    pieces = [events[at : at + size] for at in range(0, len(events), size)]
    assert _table(*pieces).table().equals(whole)
    merged = _table(events[cut:])
    merged.merge(_table(events[:cut]))
    assert merged.table().equals(whole)
    stored, added = io.BytesIO(), HourOfWeekTable()
    write_table(_table(events[:cut]), stored)
    added.add_table(pq.read_table(io.BytesIO(stored.getvalue())))
    added.add_table(_table(events[cut:]).table())
    assert added.table().equals(whole)
    slots, from_slots = SlotAggregator(), HourOfWeekTable()
    slots.add(_batch(events))
    from_slots.add_slots(slots.table())
    assert from_slots.table().equals(whole)


@given(st.lists(EVENT, max_size=40), st.dictionaries(st.sampled_from(["act_1", "act_2"]), st.sampled_from(ZONES)))
def test_an_unnamed_zone_is_the_accounts_or_the_default(events: list[Event], zones: dict[str, str]) -> None:
    """What the log does not say, the accounts do, and the setting says the rest."""
    default = "Asia/Kolkata"
    half = len(events) // 2
    found = _table(events[:half], events[half:], default_zone=default, zones=zones)
    assert found.table().to_pylist() == _counted(events, default, zones)


def test_a_table_of_nothing_is_empty() -> None:
    """No opens make no rows, and the schema stands."""
    assert HourOfWeekTable().table().equals(HOUR_SCHEMA.empty_table())
    assert _table([(0, "act_1", "today", "", "api")]).pair_count == 0
    assert HourOfWeekTable().frame().empty


@pytest.mark.parametrize("suffix", ["parquet", "jsonl"])
def test_a_log_is_counted_within_its_window(tmp_path: Path, suffix: str) -> None:
    """Only events of the half-open window count, whatever the format; the setting's zone fills in."""
    moments = pd.date_range(START, periods=200, freq="37min")
    frame = pd.DataFrame({"ts": moments, "account_id": "act_1", "date_range": "today"})
    path = tmp_path / f"log.{suffix}"
    if suffix == "parquet":
        frame.to_parquet(path, index=False, row_group_size=50)
    else:
        frame.to_json(path, orient="records", lines=True, date_format="iso")
    since, until = START + timedelta(hours=10), START + timedelta(hours=60)
    found = count_log(str(path), Settings(default_zone="Asia/Kathmandu"), since=since, until=until).frame()
    wanted = moments[(moments >= since) & (moments < until)].tz_convert("Asia/Kathmandu")
    counts = pd.Series(wanted.day_of_week * 24 + wanted.hour).value_counts()
    assert dict(zip(found["hour_of_week"], found["opens"], strict=True)) == counts.to_dict()


def test_counting_a_local_log_starts_light() -> None:
    """Neither frames, nor SQL, nor remote file systems are loaded for it: starting is part of the time it takes."""
    heavy = {"pandas", "sqlalchemy", "fsspec", "upath", "sklearn"}
    code = (
        "import sys; import adwarm.settings; from adwarm.patterns.hour_of_week import count_log, write_table;"
        f"print(sorted({heavy} & set(sys.modules)))"
    )
    include = str(Path(__file__).resolve().parents[3] / "include")
    done = subprocess.run(
        [sys.executable, "-c", code],
        env={**os.environ, "PYTHONPATH": include},
        capture_output=True,
        text=True,
        check=True,
    )
    assert done.stdout.strip() == "[]"
