"""Intact footers are read like pyarrow reads them, and damaged ones are rejected."""

import io
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.access_log import list_files
from adwarm.access_log.footer import RowGroup, row_groups
from adwarm.access_log.parquet_log import get_span, open_parquet
from adwarm.access_log.timestamps import to_micros
from adwarm.foundation.errors import BadRequest

START = datetime(2026, 3, 2, tzinfo=UTC)
MOMENTS = [START + timedelta(minutes=20 * n) for n in range(100)]


def _parquet(moments: pa.Array, **how: object) -> bytes:
    rows = len(moments)
    key = {"account_id": ["1"] * rows, "date_range": ["today"] * rows}
    table = pa.table({"x": [["a", "b"]] * rows, **key, "ts": moments, "y": [{"z": 1.5}] * rows})
    sink = pa.BufferOutputStream()
    pq.write_table(table, sink, row_group_size=30, **how)
    return sink.getvalue().to_pybytes()


def test_rows_and_statistics_are_those_pyarrow_tells(subtests: pytest.Subtests) -> None:
    """Holds between nested columns, in every unit and version of the format."""
    for version in ["1.0", "2.4", "2.6"]:
        for unit in ["s", "ms", "us", "ns"]:
            with subtests.test(version=version, unit=unit):
                data = _parquet(pa.array(MOMENTS, pa.timestamp(unit, "UTC")), version=version)
                metadata = pq.read_metadata(io.BytesIO(data))
                paths = [metadata.schema.column(index).path for index in range(len(metadata.schema))]
                found = row_groups(io.BytesIO(data), paths.index("ts"))
                assert [group.rows for group in found] == [30, 30, 30, 10]
                stats = [metadata.row_group(group).column(paths.index("ts")).statistics for group in range(4)]
                told = [
                    (int.from_bytes(g.min_value or b"", "little"), int.from_bytes(g.max_value or b"", "little"))
                    for g in found
                ]
                assert told == [(stat.min_raw, stat.max_raw) for stat in stats]


def test_the_span_is_that_of_the_moments(tmp_path: Path, subtests: pytest.Subtests) -> None:
    """Holds for every type of timestamp; a date is its midnight."""
    for kind in [
        *(pa.timestamp(unit, zone) for unit in ("s", "ms", "us", "ns") for zone in (None, "UTC", "Asia/Tokyo")),
        pa.int64(),
        pa.int32(),
        pa.date32(),
        pa.date64(),
    ]:
        with subtests.test(kind=kind):
            exact = pa.array(MOMENTS, pa.timestamp("s"))
            if pa.types.is_integer(kind):
                moments = exact.cast(pa.int64()).cast(kind)
            else:
                moments = exact.cast(kind) if not pa.types.is_date(kind) else exact.cast(pa.date32()).cast(kind)
            (tmp_path / "a.parquet").write_bytes(_parquet(moments))
            with open_parquet(list_files(str(tmp_path))[0]) as log:
                last = MOMENTS[-1].replace(hour=0, minute=0) if pa.types.is_date(kind) else MOMENTS[-1]
                assert get_span(log) == (to_micros(START), to_micros(last))
                assert log.rows == 100


def test_what_statistics_cannot_tell_is_left_open(tmp_path: Path, subtests: pytest.Subtests) -> None:
    """Text, fractions and numbers of several units are not in the order of their timestamps."""
    for moments in [pa.array(["2026-03-02"] * 40), pa.array([1.5] * 40), pa.array([1, 2**60] * 20)]:
        with subtests.test(moments=moments):
            (tmp_path / "a.parquet").write_bytes(_parquet(moments))
            with open_parquet(list_files(str(tmp_path))[0]) as log:
                assert get_span(log) is None


def test_a_log_without_statistics_says_so() -> None:
    """Its rows are known, its span is None."""
    data = _parquet(pa.array(MOMENTS, pa.timestamp("us")), write_statistics=False)
    assert row_groups(io.BytesIO(data), 3)[0] == RowGroup(30, None, None)


def _read_or_refused(data: bytes, column: int) -> bool:
    try:
        return all(group.rows >= 0 for group in row_groups(io.BytesIO(data), column))
    except BadRequest as error:
        return "footer" in str(error)


@given(st.binary(max_size=300), st.integers(0, 400))
def test_a_footer_of_any_bytes_is_read_or_refused(footer: bytes, size: int) -> None:
    """Random bytes raise one kind of error, quickly."""
    data = b"PAR1" + footer + size.to_bytes(4, "little") + b"PAR1"
    assert _read_or_refused(data, 0)


@given(st.lists(st.tuples(st.integers(0, 1200), st.integers(0, 255)), min_size=1, max_size=5))
def test_a_changed_footer_is_read_or_refused(changes: list[tuple[int, int]]) -> None:
    """Wrong lengths, counts and kinds lead neither outside the footer nor into endless loops."""
    data = bytearray(_WHOLE)
    for place, value in changes:
        data[-9 - place] = value
    assert _read_or_refused(bytes(data), 3)


_WHOLE = _parquet(pa.array(MOMENTS, pa.timestamp("us")))
