"""Repeats are counted exactly while they fit, then estimated, in bounded memory."""

from datetime import UTC, datetime, timedelta

import numpy as np
import pyarrow as pa

from adwarm.access_log.events import EVENT_SCHEMA, EventBuilder
from adwarm.log_check.repeats import RepeatCounter
from adwarm.settings import Settings

START = datetime(2026, 3, 2, tzinfo=UTC)


class _Batches:
    """Makes batches whose codes belong together, as those of one reader do."""

    def __init__(self) -> None:
        self._events = EventBuilder(Settings())

    def make(self, seconds: list[float], accounts: list[int]) -> pa.RecordBatch:
        columns = {
            "ts": [START + timedelta(seconds=value) for value in seconds],
            "account_id": [f"act_{account}" for account in accounts],
            "date_range": ["today"] * len(seconds),
        }
        batch = self._events.from_lists(columns, len(seconds), lambda reason, row: None)
        assert batch.schema == EVENT_SCHEMA
        return batch


def test_the_same_event_again_is_an_exact_repeat() -> None:
    """The same time and key count, in one batch, in another and out of order; another account does not."""
    batches, counter = _Batches(), RepeatCounter()
    counter.add(batches.make([0, 0, 60, 0], [1, 1, 1, 2]))
    counter.add(batches.make([60, 30, 0], [1, 1, 1]))
    assert (counter.exact, counter.is_estimate) == (3, False)


def test_opens_within_two_seconds_are_near_also_across_batches() -> None:
    """A double click is near; an exact repeat, a later open and another key are not."""
    batches, counter = _Batches(), RepeatCounter()
    counter.add(batches.make([0, 1.5, 1.5, 100], [1, 1, 2, 1]))
    counter.add(batches.make([101, 101, 110], [1, 2, 1]))
    assert counter.near == 2


def test_memory_is_bounded_and_the_estimate_is_close() -> None:
    """With more events than the limit a sample is counted; 4,000 repeats are estimated within a quarter."""
    batches, counter = _Batches(), RepeatCounter(limit=2_000)
    rng = np.random.default_rng(5)
    moments = np.arange(40_000) * 10.0
    repeated = rng.choice(np.arange(1, 40_000, 2), 4_000, replace=False)
    moments[repeated] = moments[repeated - 1]
    for part in np.split(rng.permutation(moments), 20):
        counter.add(batches.make(part.tolist(), [1] * len(part)))
    assert 3_000 < counter.exact < 5_000
    assert counter.is_estimate
    assert len(counter._seen) <= 2_000
    unique = RepeatCounter(limit=2_000)
    for part in np.split(np.arange(40_000) * 10.0, 20):
        unique.add(batches.make(part.tolist(), [1] * len(part)))
    assert unique.exact == 0
