"""Streams are split into whole lines, whatever they contain."""

import io
from unittest import mock

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.access_log import lines
from adwarm.access_log.lines import Checkpoints, line_blocks
from adwarm.access_log.timestamps import HOUR


def _read(data: bytes, block: int, **limits: int) -> tuple[list[tuple[int, bytes]], list[tuple[str, int]], int]:
    rejected: list[tuple[str, int]] = []
    found: list[tuple[int, bytes]] = []
    end = limits.get("start", 0)
    stream = io.BytesIO(data)
    stream.seek(end)
    with mock.patch.object(lines, "BLOCK_BYTES", block):
        for piece in line_blocks(stream, lambda why, at, _: rejected.append((why, at)), **limits):
            found += zip(piece.offsets.tolist(), piece.lines, strict=True)
            end = piece.end
    return found, rejected, end


@given(st.lists(st.binary(max_size=30).filter(lambda line: b"\n" not in line)), st.integers(1, 64))
def test_lines_and_offsets_do_not_depend_on_the_blocks(wanted: list[bytes], block: int) -> None:
    """Every line that is not empty is yielded once, with its offset."""
    data = b"".join(line + b"\n" for line in wanted)
    found, rejected, end = _read(data, block)
    assert [line for _, line in found] == [line for line in wanted if line]
    assert all(data[at : at + len(line) + 1] == line + b"\n" for at, line in found)
    assert not rejected
    assert end == len(data) or not found


@pytest.mark.parametrize("block", [3, 10, 1000])
def test_a_line_that_is_too_long_costs_itself_alone(block: int) -> None:
    """The lines around an overlong one are read, at any block size."""
    found, rejected, _ = _read(b"one\n" + b"x" * 50 + b"\ntwo\n", block, max_line=10)
    assert found == [(0, b"one"), (55, b"two")]
    assert [why for why, _ in rejected] == ["too_long"]


def test_an_unfinished_last_line_is_read_and_kept_for_the_next_time() -> None:
    """`end` is the start of a line without a line end, so that it is read again when it is complete."""
    found, _, end = _read(b"one\ntwo", 1000)
    assert found == [(0, b"one"), (4, b"two")]
    assert end == 4


def test_reading_ends_at_the_stop_offset() -> None:
    """`stop` is an offset between lines; nothing from there on is read."""
    found, _, end = _read(b"one\ntwo\nthree\n", 5, start=4, stop=8)
    assert found == [(4, b"two")]
    assert end == 8


@given(st.lists(st.integers(0, 400), max_size=300), st.integers(0, 420), st.sampled_from([4, 256]))
def test_every_event_of_an_hour_lies_behind_its_start(hours: list[int], wanted: int, limit: int) -> None:
    """Whatever the order of the log and the thinning of the entries, no event of the hour lies before its offset."""
    checkpoints = Checkpoints()
    for start, hour in enumerate(hours):
        checkpoints.add(hour * HOUR, start)
    rows = checkpoints.to_rows(limit)
    begin = Checkpoints(rows).find_offset(wanted)
    needed = [start for start, hour in enumerate(hours) if hour >= wanted]
    assert len(rows) <= limit
    assert begin is not None if needed else begin is None
    assert all(start >= (begin or 0) for start in needed)


def test_entries_before_an_offset_stay() -> None:
    """Entries from the offset on are dropped, because reading again adds them."""
    checkpoints = Checkpoints([(1, 0), (2, 50), (3, 90)])
    assert checkpoints.before(90).to_rows() == [[1, 0], [2, 50]]
    assert checkpoints.latest == 3
