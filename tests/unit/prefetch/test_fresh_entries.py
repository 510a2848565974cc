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


def _run(desk: ReaderHarness, *keys: ReportKey) -> list[KeyStatus]:
    result = desk.bench.prefetch.run([KeyRequest(key) for key in keys], Priority.LOW)
    return [outcome.status for outcome in result.outcomes]


@SQLITE_ONLY
@pytest.mark.parametrize("damage", UNDECODABLE)
def test_damage_that_nobody_has_read_is_fetched_again(desk: ReaderHarness, damage: str) -> None:
    """The next batch reports `fetched`, not `fresh`, and the reader gets a hit."""
    desk.warm(KEYS[0])
    UNDECODABLE[damage](desk.engine)
    assert _run(desk, KEYS[0]) == [KeyStatus.FETCHED]
    assert desk.reader.read(KEYS[0]).status == ReadStatus.HIT
    assert _run(desk, KEYS[0]) == [KeyStatus.FRESH]


def test_flipped_bits_of_several_entries_are_noticed(desk: ReaderHarness) -> None:
    """Each damaged entry is fetched again, and only those."""
    desk.warm(*KEYS[:2])
    desk.corrupt_payloads()
    desk.warm(KEYS[2])
    assert _run(desk, *KEYS) == [KeyStatus.FETCHED, KeyStatus.FETCHED, KeyStatus.FRESH]


@SQLITE_ONLY
def test_each_payload_is_read_once(desk: ReaderHarness, monkeypatch: pytest.MonkeyPatch) -> None:
    """Later batches of the process do not read the payloads again, and old entries are not read at all."""
    desk.warm(*KEYS)
    assert _run(desk, *KEYS) == [KeyStatus.FRESH] * 3
    monkeypatch.setattr(entries, "find_many", lambda *_: pytest.fail("read again"))
    assert _run(desk, *KEYS) == [KeyStatus.FRESH] * 3
    desk.bench.clock.sleep(timedelta(days=2).total_seconds())
    assert KeyStatus.FRESH not in _run(desk, *KEYS)


@SQLITE_ONLY
def test_damage_is_reported(desk: ReaderHarness) -> None:
    """Whoever the process has named for damage gets the error, the account and the report."""
    found: list[tuple[type[Exception], str | None, str | None]] = []
    desk.warm(KEYS[0])
    desk.corrupt_payloads()
    context = replace(desk.bench.prefetch.context, on_damage=lambda error, *names: found.append((type(error), *names)))
    engine = replace(desk.bench.prefetch, context=context)
    engine.run([KeyRequest(KEYS[0])], Priority.LOW)
    assert found == [(Corrupt, "act_1", str(KEYS[0]))]
