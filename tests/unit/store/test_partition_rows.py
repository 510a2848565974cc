"""Stored rows."""

from datetime import date
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.foundation.errors import Corrupt
from adwarm.model import QuerySpec, Window
from adwarm.prefetch.fetch_result import RowBuffer
from adwarm.store.objects import ObjectStore
from adwarm.store.partition_rows import (
    by_day,
    content_hash,
    daily_texts,
    pack_rows,
    read_partition_table,
    to_table,
    unpack_rows,
    without_duplicates,
)
from adwarm.store.partitions import DayContent

TEXT = st.text(min_size=1, max_size=20)
ROW = st.fixed_dictionaries(
    {"ad_id": st.from_regex(r"[0-9]{1,18}", fullmatch=True), "date_start": st.dates().map(str)},
    optional={
        "ad_name": TEXT,
        "spend": st.decimals(0, 10**6, places=2, allow_nan=False).map(str),
        "actions": st.lists(st.fixed_dictionaries({"action_type": TEXT, "value": TEXT}), min_size=1, max_size=3),
    },
)


@given(st.lists(ROW, max_size=20))
def test_round_trip(rows: list[dict[str, Any]]) -> None:
    """Every digit and every list comes back; missing metrics stay missing."""
    assert rows == unpack_rows(pack_rows(rows))


@given(st.lists(ROW, max_size=20))
def test_written_rows_are_those_that_are_read(rows: list[dict[str, Any]]) -> None:
    """Rows that are taken from memory have the columns that their object gives."""
    assert to_table(rows) == read_partition_table(pack_rows(rows))


def test_a_name_that_looks_like_json_stays_a_name(subtests: pytest.Subtests) -> None:
    """Brackets in the name of an ad stay text, also beside a row whose value is a list."""
    for name in ["[Spring] sale", "{brand} {city}", "[]", "null", '"quoted"']:
        with subtests.test(name=name):
            rows = [{"ad_id": "1", "date_start": "2026-11-01", "ad_name": name, "actions": [{"value": name}]}]

            assert rows == unpack_rows(pack_rows(rows))


def test_a_file_with_the_schema_of_arrow_is_read() -> None:
    """Files also name their columns' types as Arrow does, as all did before; they are larger, and read the same."""
    rows = [{"ad_id": "1", "ad_name": "[]", "actions": [{"value": "1"}], "date_start": "2026-11-01"}]
    table, sink = pq.read_table(pa.BufferReader(pack_rows(rows))), pa.BufferOutputStream()

    pq.write_table(table, sink)

    assert b"ARROW:schema" in bytes(sink.getvalue())
    assert b"ARROW:schema" not in pack_rows(rows)
    assert rows == unpack_rows(bytes(sink.getvalue()))


def test_days_can_be_selected() -> None:
    """Only the rows of those days come back."""
    rows = [{"ad_id": "1", "date_start": "2026-11-01"}, {"ad_id": "1", "date_start": "2026-11-02"}]

    assert rows[1:] == unpack_rows(pack_rows(rows), [date(2026, 11, 2)])
    assert [date(2026, 11, 1), date(2026, 11, 2)] == list(by_day(rows))


@given(st.lists(ROW, max_size=10).flatmap(lambda rows: st.tuples(st.just(rows), st.permutations(rows))))
def test_content_hash_ignores_order(pair: tuple[list[dict[str, Any]], list[dict[str, Any]]]) -> None:
    """The same rows in another order have the same hash, unless ids repeat."""
    rows, shuffled = pair
    if len({row["ad_id"] for row in rows}) == len(rows):
        assert content_hash(rows) == content_hash(shuffled)


def test_content_hash_sees_one_digit() -> None:
    """A restated value changes the hash."""
    assert content_hash([{"ad_id": "1", "spend": "1.00"}]) != content_hash([{"ad_id": "1", "spend": "1.01"}])


def test_pages_that_overlap_give_each_ad_day_once() -> None:
    """Of two rows for the same ad and day the later one wins."""
    old = {"ad_id": "1", "date_start": "2026-11-01", "date_stop": "2026-11-01", "spend": "1"}

    assert [{**old, "spend": "2"}] == without_duplicates([old, {**old, "spend": "2"}], ("ad_id",))


def test_garbage_is_corrupt() -> None:
    """Bytes that are not a Parquet file raise `Corrupt`."""
    with pytest.raises(Corrupt):
        unpack_rows(b"PAR1 but not really")


def test_rows_are_identified_by_their_level(subtests: pytest.Subtests) -> None:
    """Two objects of a level are two rows, and a repeated one is one, whatever other ids they have."""
    for level in ["ad", "adset", "campaign", "account"]:
        with subtests.test(level=level):
            shared = {"account_id": "1", "campaign_id": "2", "date_start": "2026-11-01", "date_stop": "2026-11-01"}
            rows = [{**shared, f"{level}_id": name, "spend": name} for name in ("8", "9", "8")]
            assert sorted(row["spend"] for row in without_duplicates(rows, QuerySpec(level).identity)) == ["8", "9"]


@given(st.lists(st.tuples(st.integers(1, 9), st.integers(1, 28)), max_size=60), st.integers(1, 40))
def test_a_buffer_gives_each_window_once(pairs: list[tuple[int, int]], loose: int) -> None:
    """Packed or not, every row comes back by window and id, the later one of two, and leaves the buffer."""
    rows = [
        {"ad_id": str(ad), "date_start": f"2026-02-{day:02}", "date_stop": f"2026-02-{day:02}", "spend": str(number)}
        for number, (ad, day) in enumerate(pairs)
    ]
    buffer, other = (
        RowBuffer(("ad_id",), rows[::2], loose_rows=loose),
        RowBuffer(("ad_id",), rows[1::2], loose_rows=loose),
    )
    buffer.extend(other)
    assert (len(buffer), len(other)) == (len(rows), 0)
    expected = {(row["date_start"], row["ad_id"]): row["spend"] for row in [*rows[::2], *rows[1::2]]}
    taken = [row for window in buffer.windows() for row in buffer.take(window)]
    assert {(row["date_start"], row["ad_id"]): row["spend"] for row in taken} == expected
    assert [(row["date_start"], row["ad_id"]) for row in taken] == sorted(expected)
    assert len(buffer) == 0


def test_fields_of_days_are_read_as_text(tmp_path: Path) -> None:
    """Lists are JSON, other values their text, also where one object has lists and another one texts."""
    objects = ObjectStore(str(tmp_path))
    days = [date(2026, 11, day) for day in (1, 2, 3)]
    cells: list[list[Any]] = [["a", '"b"', None], [[{"a": "b"}], 5, "null"], ["c"]]
    states = {}
    for day, values in zip(days, cells, strict=True):
        rows = [{"date_start": str(day), "ad_id": str(number), "x": value} for number, value in enumerate(values)]
        states[day] = DayContent(day, "", 1, True, len(rows), objects.put(pack_rows(rows)))
    table = daily_texts(objects, states, Window(days[0], days[1]), {"x"})
    assert table.column_names == ["date_start", "x"]
    assert table["x"].to_pylist() == ["a", '"b"', None, '[{"a":"b"}]', "5", "null"]
    assert daily_texts(objects, {}, Window(days[0], days[1]), {"x"}).num_rows == 0
