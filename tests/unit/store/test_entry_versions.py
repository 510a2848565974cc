"""Recorded publications: of one entry, newest first, and deleted after their time."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Engine

from adwarm.model import EntryKey, Window
from adwarm.store import entry_versions
from adwarm.store.database import read_transaction, write_transaction

AT = datetime(2026, 11, 25, 12, tzinfo=UTC)
LATER = AT + timedelta(hours=3)
KEY = EntryKey("act_1", Window(date(2026, 11, 18), date(2026, 11, 24)), "abc")


def save(engine: Engine, at: datetime, *keys: EntryKey) -> None:
    """Record publications."""
    with write_transaction(engine) as connection:
        entry_versions.save(connection, keys, at)


def list_moments(engine: Engine, key: EntryKey = KEY) -> list[datetime]:
    """The publications of an entry."""
    with read_transaction(engine) as connection:
        return entry_versions.list_moments(connection, key)


def test_publications_of_an_entry_come_back_newest_first(engine: Engine) -> None:
    """One that is recorded again is one row, and no other entry has it."""
    save(engine, AT, KEY, replace(KEY, spec_hash="abd"))
    for _ in range(2):
        save(engine, LATER, KEY)
    assert list_moments(engine) == [LATER, AT]
    assert list_moments(engine, replace(KEY, account_id="act_2")) == []


def test_old_publications_are_deleted(engine: Engine) -> None:
    """Those before a moment go, the others stay."""
    save(engine, AT, KEY)
    save(engine, LATER, KEY)
    assert sum(entry_versions.delete_old(engine, LATER)) == 1
    assert list_moments(engine) == [LATER]
