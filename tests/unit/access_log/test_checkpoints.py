"""Re-reading from a checkpoint misses nothing."""

from hypothesis import given
from hypothesis import strategies as st

from adwarm.access_log.lines import Checkpoints
from adwarm.access_log.timestamps import HOUR


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
