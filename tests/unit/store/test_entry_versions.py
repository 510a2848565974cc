"""Kept versions: bounded per key, found within one account only, and as long-lived as their payloads."""

from dataclasses import replace
from datetime import UTC, date, datetime, timedelta
from hashlib import sha256

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import Engine

from adwarm.model import EntryKey, ReportKey, Window
from adwarm.store import entries, entry_versions
from adwarm.store.database import read_transaction, write_transaction
from adwarm.store.entries import Entry
from adwarm.store.entry_versions import EntryVersion, VersionLimits

AT = datetime(2026, 11, 25, 12, tzinfo=UTC)
HOUR = timedelta(hours=1)
WEEK = Window(date(2026, 11, 18), date(2026, 11, 24))
KEY = ReportKey("act_1", "last_7d")
LIMITS = VersionLimits(1000, 10, timedelta(days=8))


def _version(content: str, key: ReportKey = KEY, at: datetime = AT, stored_bytes: int = 100) -> EntryVersion:
    digest = sha256(f"sealed {content}".encode()).hexdigest()
    return EntryVersion(key, WEEK, "abc", sha256(content.encode()).hexdigest(), digest, 1000, stored_bytes, at)


def _save(engine: Engine, *versions: EntryVersion, limits: VersionLimits = LIMITS) -> None:
    """Publish an entry for each version, as a refresh does, and keep the versions."""
    for version in versions:
        _publish(engine, version)
        with write_transaction(engine) as connection:
            entry_versions.save(connection, [version], limits)


def _publish(engine: Engine, version: EntryVersion) -> None:
    key = EntryKey(version.key.account_id, version.window, version.spec_hash)
    item = Entry(key, version.key.date_range, version.key.report, "zstd", 1000, 100, version.created_at, None, "test")
    with write_transaction(engine) as connection:
        (digest,) = entries.publish(connection, [(item, _sealed(version))], 1, version.created_at)
    assert digest == version.payload_hash


def _sealed(version: EntryVersion) -> bytes:
    texts = ("a", "b", "c", "secret", *(str(number) for number in range(30)))
    return next(f"sealed {text}".encode() for text in texts if _version(text).content_hash == version.content_hash)


def _contents(engine: Engine, key: ReportKey = KEY) -> list[str]:
    return [version.content_hash for version in _list(engine, key)]


def _list(engine: Engine, key: ReportKey = KEY) -> list[EntryVersion]:
    with read_transaction(engine) as connection:
        return entry_versions.list_versions(connection, key)


def _find(engine: Engine, version: EntryVersion, account_id: str = "act_1", spec_hash: str = "abc") -> list[bytes]:
    found = entry_versions.find(engine, account_id, version.key.report, spec_hash, version.content_hash)
    return [item.sealed for item in found]


def test_a_saved_version_comes_back(engine: Engine) -> None:
    """Every column comes back with the sealed bytes; the same content saved again only becomes newer."""
    _save(engine, _version("a"))
    ((version, sealed),) = entry_versions.find(engine, "act_1", "default", "abc", _version("a").content_hash)
    assert (version, sealed) == (_version("a"), b"sealed a")
    _save(engine, _version("a", at=AT + HOUR))
    assert _list(engine) == [_version("a", at=AT + HOUR)]


def test_a_version_is_found_only_by_its_own_account_report_and_query(engine: Engine) -> None:
    """The hash of another account's document, or of another query's, finds nothing."""
    other = replace(_version("secret"), key=ReportKey("act_2", "last_7d"))
    report = replace(_version("b"), key=ReportKey("act_1", "last_7d", "weekly"))
    _save(engine, _version("a"), other, report)
    assert _find(engine, other, "act_2") == [b"sealed secret"]
    assert _find(engine, other, "act_1") == []
    assert _find(engine, report) == [b"sealed b"]
    assert entry_versions.find(engine, "act_1", "default", "abc", report.content_hash) == []
    assert _find(engine, _version("a"), spec_hash="other") == []


def test_the_oldest_versions_of_a_key_are_deleted(engine: Engine) -> None:
    """Bytes, number and age are bounded for each key by itself; the newest versions stay."""
    versions = [_version(str(number), at=AT + number * HOUR) for number in range(6)]
    other = _version("a", ReportKey("act_1", "yesterday"))
    _save(engine, other, *versions, limits=replace(LIMITS, stored_bytes=350))
    assert _contents(engine) == [version.content_hash for version in reversed(versions[3:])]
    assert _contents(engine, other.key) == [other.content_hash]
    _save(engine, versions[5], limits=replace(LIMITS, count=2))
    assert _contents(engine) == [versions[5].content_hash, versions[4].content_hash]
    _save(engine, _version("b", at=AT + timedelta(days=9)))
    assert _contents(engine) == [_version("b").content_hash]


def test_a_document_above_the_limit_is_not_kept(engine: Engine) -> None:
    """A single document may be larger than what is kept of a key; 0 bytes keeps nothing."""
    _save(engine, _version("a"), _version("b", at=AT + HOUR, stored_bytes=2000))
    assert _contents(engine) == []
    _save(engine, _version("c"), limits=replace(LIMITS, stored_bytes=0))
    assert _contents(engine) == []


def test_payloads_of_versions_are_no_orphans(engine: Engine) -> None:
    """A payload stays while a version needs it, and goes when the version is old."""
    _save(engine, _version("a"), _version("b", at=AT + HOUR))
    assert sum(entries.delete_orphans(engine, AT + timedelta(days=1))) == 0
    assert _find(engine, _version("a")) == [b"sealed a"]
    assert sum(entry_versions.delete_old(engine, AT + HOUR)) == 1
    assert sum(entries.delete_orphans(engine, AT + timedelta(days=1))) == 1
    assert _find(engine, _version("b")) == [b"sealed b"]


def test_compressing_again_keeps_one_payload(engine: Engine) -> None:
    """Versions follow their entry to the new payload; those of a changed entry stay as they are."""
    _save(engine, _version("a"))
    (item,) = entries.list_entries(engine, "act_1")
    with write_transaction(engine) as connection:
        assert entries.replace_payload(connection, replace(item, codec="brotli", stored_bytes=7), b"smaller", AT)
        assert not entries.replace_payload(connection, item, b"late", AT)
    assert _find(engine, _version("a")) == [b"smaller"]
    assert _list(engine)[0].stored_bytes == 7
    assert sum(entries.delete_orphans(engine, AT + HOUR)) == 2


@settings(suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    order=st.lists(st.integers(0, 9), min_size=1, max_size=12), size=st.integers(1, 400), limit=st.sampled_from([1, 3])
)
def test_bounds_hold_after_every_save(sqlite_engine: Engine, order: list[int], size: int, limit: int) -> None:
    """Whatever is saved in whatever order, a key's versions stay within their bytes and number, newest first."""
    limits = VersionLimits(500, limit, timedelta(days=8))
    for number in order:
        _save(sqlite_engine, _version(str(number), at=AT + number * HOUR, stored_bytes=size), limits=limits)
        kept = _list(sqlite_engine)
        assert sum(version.stored_bytes for version in kept) <= 500
        assert 1 <= len(kept) <= limit
        assert kept == sorted(kept, key=lambda version: version.created_at, reverse=True)
