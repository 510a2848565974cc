"""Entries change as a whole, equal payloads are stored once, and late writers change nothing newer."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256

import pytest
from sqlalchemy import Engine
from sqlalchemy.exc import IntegrityError

from adwarm.model import EntryKey, ReportKey, Window
from adwarm.store import entries
from adwarm.store.database import read_transaction, write_transaction
from adwarm.store.entries import FOREVER, Entry, payload

AT = datetime(2026, 11, 25, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
DAY = Window(date(2026, 11, 24), date(2026, 11, 24))


def _entry(account: str = "act_1", window: Window = DAY, **values: object) -> Entry:
    made = Entry(
        EntryKey(account, window, "abc"), "yesterday", "default", "zstd", 100, 10, AT, AT + 6 * HOUR, "scripted"
    )
    return replace(made, **values)  # type: ignore[arg-type]


def _publish(engine: Engine, *items: tuple[Entry, bytes], at: datetime = AT) -> None:
    with write_transaction(engine) as connection:
        entries.publish(connection, list(items), 1, at)


def _payloads(engine: Engine) -> dict[str, bytes]:
    with read_transaction(engine) as connection:
        return {row.hash: bytes(row.body) for row in connection.execute(payload.select())}


def test_what_is_published_is_found(engine: Engine) -> None:
    """Every column comes back, and the payload is stored under its hash."""
    _publish(engine, (_entry(expires_at=None, settled=True), b"sealed"))
    found = entries.find(engine, _entry().key)
    assert found == (_entry(expires_at=None, settled=True, payload_hash=sha256(b"sealed").hexdigest()), b"sealed")
    assert entries.find(engine, _entry("act_2").key) is None


def test_a_report_is_stored_under_its_range_or_its_days(engine: Engine) -> None:
    """A preset by its name, whatever days it meant; absolute days under any name; of that account and report only."""
    _publish(engine, (_entry(), b"sealed"))
    keys = {
        ReportKey("act_1", "yesterday"): True,
        ReportKey("act_1", "2026-11-24..2026-11-24"): True,
        ReportKey("act_1", "2026-11-23..2026-11-24"): False,
        ReportKey("act_1", "today"): False,
        ReportKey("act_2", "yesterday"): False,
        ReportKey("act_1", "yesterday", "other"): False,
    }
    with read_transaction(engine) as connection:
        assert {key: entries.is_stored(connection, key) for key in keys} == keys


def test_freshness_ends_at_the_expiry() -> None:
    """Fresh until just before; a final entry forever; a degraded one never."""
    assert [_entry().is_fresh(AT + 6 * HOUR - timedelta(microseconds=1)), _entry().is_fresh(AT + 6 * HOUR)] == [
        True,
        False,
    ]
    assert _entry(expires_at=None).is_fresh(AT + 1000 * HOUR)
    assert not _entry(degraded=True).is_fresh(AT)


def test_expiries_leave_out_degraded_entries(engine: Engine) -> None:
    """Missing and degraded entries are left out, final ones never expire, and windows are not confused."""
    week = Window(date(2026, 11, 18), date(2026, 11, 24))
    _publish(
        engine,
        (_entry(), b"a"),
        (_entry("act_2", expires_at=None), b"b"),
        (_entry("act_3", degraded=True), b"c"),
        (_entry("act_1", week, expires_at=AT + HOUR), b"d"),
    )
    keys = [_entry(f"act_{n}").key for n in range(1, 5)]
    found = entries.find_lifetimes(engine, keys)
    assert {key: item.expires_at for key, item in found.items()} == {keys[0]: AT + 6 * HOUR, keys[1]: FOREVER}
    assert entries.find_lifetimes(engine, []) == {}


def test_many_entries_come_with_their_bytes(engine: Engine) -> None:
    """Unknown keys are left out, and those that were published with other bytes meanwhile."""
    _publish(engine, (_entry(), b"a"), (_entry("act_2"), b"b"), (_entry("act_3"), b"c"))
    bodies = {1: b"a", 2: b"b", 3: b"z", 4: b"a"}
    hashes = {_entry(f"act_{n}").key: sha256(body).hexdigest() for n, body in bodies.items()}
    found = {entry.key.account_id: sealed for entry, sealed in entries.find_many(engine, hashes)}
    assert found == {"act_1": b"a", "act_2": b"b"}
    assert entries.find_many(engine, {}) == []


def test_equal_answers_share_a_payload_and_orphans_are_deleted(engine: Engine) -> None:
    """Two entries with equal bytes share one payload, which is deleted only after both are gone."""
    _publish(engine, (_entry(), b"same"), (_entry("act_2"), b"same"))
    assert len(_payloads(engine)) == 1
    _publish(engine, (_entry(), b"new"), at=AT + HOUR)
    assert sum(entries.delete_orphans(engine, AT + 2 * HOUR)) == 0
    _publish(engine, (_entry("act_2"), b"newer"), at=AT + HOUR)
    assert sum(entries.delete_orphans(engine, AT)) == 0
    assert sum(entries.delete_orphans(engine, AT + HOUR)) == 1
    assert set(_payloads(engine).values()) == {b"new", b"newer"}


def test_publishing_again_repairs_a_damaged_payload(engine: Engine) -> None:
    """A payload with damaged bytes is written again although its hash exists."""
    _publish(engine, (_entry(), b"sealed"))
    with write_transaction(engine) as connection:
        connection.execute(payload.update().values(body=b"damaged"))
    _publish(engine, (_entry(), b"sealed"))
    assert list(_payloads(engine).values()) == [b"sealed"]


def test_a_late_writer_does_not_change_a_newer_entry(engine: Engine) -> None:
    """Marking and compressing again apply to the entry that was read, not to a newer one."""
    _publish(engine, (_entry(), b"old"))
    (seen,) = entries.list_entries(engine, "act_1")
    _publish(engine, (_entry(fetched_at=AT + HOUR), b"new"))
    entries.mark_degraded(engine, seen, "damaged")
    with write_transaction(engine) as connection:
        assert not entries.replace_payload(connection, replace(seen, codec="gzip"), b"repacked", AT)
    found = entries.find(engine, seen.key)
    assert found is not None
    assert (found[0].degraded, found[0].codec, found[1]) == (False, "zstd", b"new")


def test_marking_and_compressing_an_entry(engine: Engine) -> None:
    """A marked entry has a reason; a compressed one has new bytes under their own hash."""
    _publish(engine, (_entry(), b"old"))
    (seen,) = entries.list_entries(engine)
    with write_transaction(engine) as connection:
        assert entries.replace_payload(connection, replace(seen, codec="gzip", stored_bytes=7), b"smaller", AT)
    (packed,) = entries.list_entries(engine)
    entries.mark_degraded(engine, packed, "x" * 600)
    found = entries.find(engine, seen.key)
    assert found is not None
    assert (found[0].codec, found[0].stored_bytes, found[1]) == ("gzip", 7, b"smaller")
    assert (found[0].degraded, found[0].degraded_reason) == (True, "x" * 500)


def test_a_failed_publication_leaves_the_older_answer(engine: Engine) -> None:
    """Entry and payload change together or not at all."""
    _publish(engine, (_entry(), b"old"))
    broken = _entry(account="act_2", fetched_at=None)
    with pytest.raises(IntegrityError), write_transaction(engine) as connection:
        entries.publish(connection, [(_entry(), b"new"), (broken, b"newer")], 2, AT)
    assert set(_payloads(engine).values()) == {b"old"}
    assert entries.get_totals(engine) == {"entries": 1, "raw_bytes": 100, "stored_bytes": 10}


def test_the_list_is_newest_first(engine: Engine) -> None:
    """The newest fetch comes first, for one account and for all."""
    _publish(engine, (_entry(), b"a"), (_entry("act_2", fetched_at=AT + HOUR), b"b"))
    assert [item.key.account_id for item in entries.list_entries(engine)] == ["act_2", "act_1"]
    assert [item.key.account_id for item in entries.list_entries(engine, "act_1")] == ["act_1"]


def test_reads_are_added_and_stay_when_the_entry_is_fetched_again(engine: Engine) -> None:
    """A batch of counts adds to each of its entries; publishing keeps them; entries that are gone are left out."""
    _publish(engine, (_entry(), b"a"), (_entry("act_2"), b"b"))
    entries.add_reads(engine, {_entry().key: 2, _entry("act_2").key: 5, _entry("act_9").key: 1}, AT)
    entries.add_reads(engine, {_entry().key: 3}, AT + HOUR)
    entries.add_reads(engine, {}, AT + 2 * HOUR)
    _publish(engine, (_entry(fetched_at=AT + 2 * HOUR), b"new"))
    found = {item.key.account_id: (item.reads, item.last_read_at) for item in entries.list_entries(engine)}
    assert found == {"act_1": (5, AT + HOUR), "act_2": (5, AT)}
