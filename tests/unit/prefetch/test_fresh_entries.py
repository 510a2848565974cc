"""An entry that cannot be decoded is not fresh, also when nobody has read it."""

from dataclasses import replace
from datetime import timedelta

import pytest

from adwarm.foundation.errors import Corrupt
from adwarm.model import Priority, ReportKey
from adwarm.prefetch import KeyRequest, KeyStatus
from adwarm.serving import ReadStatus
from adwarm.store import entries
from tests.support.stored_damage import UNDECODABLE
from tests.unit.conftest import SQLITE_ONLY, ReaderHarness

KEYS = [ReportKey("act_1", "last_7d"), ReportKey("act_1", "yesterday"), ReportKey("act_2", "last_7d")]


def _run(reading: ReaderHarness, *keys: ReportKey) -> list[KeyStatus]:
    result = reading.harness.prefetch.run([KeyRequest(key) for key in keys], Priority.LOW)
    return [outcome.status for outcome in result.outcomes]


@SQLITE_ONLY
@pytest.mark.parametrize("damage", UNDECODABLE)
def test_damage_that_nobody_has_read_is_fetched_again(reading: ReaderHarness, damage: str) -> None:
    """The next batch reports `fetched`, not `fresh`, and the reader gets a hit."""
    reading.warm(KEYS[0])
    UNDECODABLE[damage](reading.engine)
    assert _run(reading, KEYS[0]) == [KeyStatus.FETCHED]
    assert reading.reader.read(KEYS[0]).status == ReadStatus.HIT
    assert _run(reading, KEYS[0]) == [KeyStatus.FRESH]


def test_flipped_bits_of_several_entries_are_noticed(reading: ReaderHarness) -> None:
    """Each damaged entry is fetched again, and only those."""
    reading.warm(*KEYS[:2])
    reading.corrupt_payloads()
    reading.warm(KEYS[2])
    assert _run(reading, *KEYS) == [KeyStatus.FETCHED, KeyStatus.FETCHED, KeyStatus.FRESH]


@SQLITE_ONLY
def test_each_payload_is_read_once(reading: ReaderHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later batches of the process do not read the payloads again, and old entries are not read at all."""
    reading.warm(*KEYS)
    assert _run(reading, *KEYS) == [KeyStatus.FRESH] * 3
    monkeypatch.setattr(entries, "find_many", lambda *_: pytest.fail("read again"))
    assert _run(reading, *KEYS) == [KeyStatus.FRESH] * 3
    reading.harness.clock.sleep(timedelta(days=2).total_seconds())
    assert KeyStatus.FRESH not in _run(reading, *KEYS)


@SQLITE_ONLY
def test_damage_is_reported(reading: ReaderHarness) -> None:
    """Whoever the process has named for damage gets the error, the account and the report."""
    found: list[tuple[type[Exception], str | None, str | None]] = []
    reading.warm(KEYS[0])
    reading.corrupt_payloads()
    context = replace(
        reading.harness.prefetch.context, on_damage=lambda error, *names: found.append((type(error), *names))
    )
    engine = replace(reading.harness.prefetch, context=context)
    engine.run([KeyRequest(KEYS[0])], Priority.LOW)
    assert found == [(Corrupt, "act_1", str(KEYS[0]))]
