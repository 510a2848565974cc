"""Whether a report was warm at a moment that only a fetch without a plan explains: one of a reader, or of a command."""

from datetime import timedelta

from adwarm.model import ReportKey, Window
from adwarm.planning.key_facts import KeyExplainer
from adwarm.prefetch.backfill import run_backfill
from adwarm.store import accounts, entries
from tests.unit.conftest import NOW, ReaderHarness

KEY = ReportKey("act_1", "yesterday")
HOUR = timedelta(hours=1)


def was_warm(reading: ReaderHarness, hours: float) -> bool:
    """Whether the key was warm some hours after the first fetch."""
    at = NOW + hours * HOUR
    return KeyExplainer(reading.harness.prefetch.context).explain(KEY, at, reading.harness.clock.now()).is_warm


def test_a_reader_has_fetched_it(reading: ReaderHarness) -> None:
    """Each of its fetches counts as long as its entry was fresh, also after others have replaced it."""
    for _ in range(2):
        reading.fetch(KEY)
        reading.harness.clock.sleep(7 * 3600)
    assert len(entries.list_entries(reading.engine)) == 1
    assert [was_warm(reading, hours) for hours in (1, 5, 6.5, 8)] == [True, True, False, True]


def test_a_backfill_has_stored_its_days(reading: ReaderHarness) -> None:
    """The report of its days is warm from then on, also after a later fetch has replaced it."""
    reading.warm(ReportKey("act_1", "today"))
    account = accounts.get(reading.engine, "act_1")
    assert account is not None
    day = (NOW - timedelta(days=1)).date()
    run_backfill(reading.harness.prefetch, [account], Window(day, day))
    reading.harness.clock.sleep(8 * 3600)
    reading.warm(KEY)
    assert [was_warm(reading, hours) for hours in (0.25, 5, 7)] == [True, True, False]
