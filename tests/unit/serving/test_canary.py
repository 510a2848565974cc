"""The warmed key is the key that is requested, and the canary reports when it is not."""

from datetime import timedelta

from adwarm.model import ReportKey
from adwarm.serving import read_back
from tests.unit.conftest import ReaderHarness

KEYS = [ReportKey(f"act_{n}", "yesterday") for n in range(1, 8)]


def test_warmed_keys_are_read_back(desk: ReaderHarness) -> None:
    """Keys spread over the warmed ones are read, each a hit."""
    desk.warm(*KEYS)
    result = read_back(desk.reader, KEYS, limit=3)
    assert (result.read, result.misses) == (3, ())
    assert read_back(desk.reader, []).read == 0


def test_each_miss_is_named(desk: ReaderHarness) -> None:
    """Absent, old and damaged entries are reported, each with its reason."""
    desk.warm(KEYS[0])
    assert "act_2 yesterday: miss, nothing is stored" in read_back(desk.reader, KEYS[:2]).misses[0]
    desk.bench.clock.sleep(timedelta(hours=7).total_seconds())
    assert "stale" in read_back(desk.reader, KEYS[:1]).misses[0]
    desk.corrupt_payloads()
    assert "act_1 yesterday: miss" in read_back(desk.reader, KEYS[:1]).misses[0]
