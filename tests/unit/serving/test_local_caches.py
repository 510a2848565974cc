"""Clearing the caches of a process: all of them, or what they hold of an account or a report."""

import asyncio
from collections.abc import Callable
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from adwarm.foundation.errors import Corrupt, Transient
from adwarm.model import ReportKey
from adwarm.recovery import Call, Failure
from adwarm.recovery.retry import ErrorFilter
from adwarm.serving import query_watcher
from adwarm.serving.hit_parts import HitParts
from adwarm.serving.local_caches import CacheClear, CacheSelection, LocalCaches
from adwarm.serving.query_watcher import QueryWatcher
from adwarm.settings import Settings
from adwarm.store import Context, entries, report_versions
from tests.unit.conftest import NOW, SQLITE_ONLY, PrefetchHarness, ReaderHarness

FIRST, SECOND, OTHER = ReportKey("act_1", "yesterday"), ReportKey("act_1", "last_7d"), ReportKey("act_2", "yesterday")


class Recorded:
    """A cache that remembers what was to be dropped."""

    def __init__(self) -> None:
        self.selections: list[CacheSelection] = []

    def clear(self, selection: CacheSelection) -> None:
        """Remember it."""
        self.selections.append(selection)


def _failure(**call: Any) -> Failure:
    return Failure(Call("store", **call), Corrupt())


@pytest.fixture
def make_healer(harness: PrefetchHarness) -> Callable[..., tuple[CacheClear, Recorded, LocalCaches]]:
    """Returns a factory of healers with one recorded cache."""

    def make(clears: Any) -> tuple[CacheClear, Recorded, LocalCaches]:
        caches, cache = LocalCaches(), Recorded()
        caches.add(cache)
        healer = CacheClear(harness.engine, lambda: caches, ErrorFilter(("Corrupt",)), 60, clears)
        return healer, cache, caches

    return make


@SQLITE_ONLY
def test_the_scope_is_a_key_an_account_or_everything(make_healer: Any, subtests: pytest.Subtests) -> None:
    """It clears the report that the failure names, its account where none is named, or everything."""
    for clears, call, scope, includes in [
        ("key", {"subject": str(SECOND)}, "act_1 last_7d", [False, True, False]),
        ("key", {"account_id": "act_1"}, "act_1", [True, True, False]),
        ("account", {"account_id": "act_1", "subject": str(SECOND)}, "act_1", [True, True, False]),
        ("all", {"account_id": "act_1"}, "all", [True, True, True]),
        ("key", {"subject": "not a key"}, "all", [True, True, True]),
    ]:
        with subtests.test(clears=clears, call=call, scope=scope, includes=includes):
            healer, cache, _ = make_healer(clears)
            failure = _failure(**call)
            assert healer.matches(failure)
            assert healer.scope(failure) == scope
            assert healer.heal(failure) == f"cleared {scope} in 1 caches of one process"
            (selection,) = cache.selections
            assert [selection.includes(key) for key in (FIRST, SECOND, OTHER)] == includes


@SQLITE_ONLY
def test_a_report_with_a_name_is_parsed(make_healer: Any) -> None:
    """The text of a key with a report of its own names that report."""
    healer, cache, _ = make_healer("key")
    key = ReportKey("act_1", "last_7d", "campaigns")
    healer.heal(_failure(subject=str(key)))
    assert cache.selections[0].key == key


def test_it_is_for_stored_data_only(make_healer: Any) -> None:
    """A malformed answer of the platform clears no cache."""
    healer, _, _ = make_healer("key")
    assert not healer.matches(Failure(Call("meta", "main"), Corrupt()))
    assert not healer.matches(Failure(Call("store"), Transient("x")))


def test_a_process_that_adopts_it_clears_its_own_caches(make_healer: Any) -> None:
    """The next attempt reads the database; a cache that is gone is forgotten."""
    healer, cache, caches = make_healer("all")
    assert healer.adopt(_failure())
    assert len(cache.selections) == 1
    gone = Recorded()
    caches.add(gone)
    del gone
    assert caches.clear(CacheSelection()) == 1


def test_decoded_documents_are_dropped(reading: ReaderHarness) -> None:
    """The reader decodes a document again after its cache was cleared."""
    reading.warm(FIRST)
    result = reading.reader.read(FIRST)
    first = reading.reader.get_body(result)
    assert reading.reader.get_body(result) is first
    reading.reader.clear(CacheSelection("act_2"))
    again = reading.reader.get_body(result)
    assert again is not first
    assert again == first


def test_pointers_bodies_and_files_of_an_account_are_dropped(reading: ReaderHarness, tmp_path: Path) -> None:
    """What another account has stays in memory and on disk."""
    reading.warm(FIRST, OTHER)
    harness = reading.harness
    settings = harness.settings.model_copy(update={"home": tmp_path})
    context = Context(harness.engine, harness.prefetch.objects, settings)
    stored = {key.account_id: entries.list_entries(harness.engine, key.account_id)[0] for key in (FIRST, OTHER)}

    async def go() -> None:
        parts = HitParts(context, harness.clock)
        try:
            for key in (FIRST, OTHER):
                await parts.pointers.load(key)
                await parts.bodies.load(stored[key.account_id])
            await asyncio.sleep(0)
            hashes = frozenset({stored["act_1"].payload_hash})
            selection = CacheSelection("act_1", None, hashes)
            await asyncio.to_thread(parts.pointers.clear, selection)
            await asyncio.to_thread(parts.bodies.clear, selection)
            await asyncio.sleep(0)
            now = harness.clock.now()
            assert parts.pointers.get(FIRST, now) is None
            assert parts.bodies.get(stored["act_1"]) is None
            assert parts.pointers.get(OTHER, now) is not None
            assert parts.bodies.get(stored["act_2"]) is not None
            files = {path.name for path in (tmp_path / "serve-cache").iterdir()}
            assert files == {stored["act_2"].payload_hash}
            parts.bodies.clear(CacheSelection())
            parts.representations.clear(CacheSelection())
            await asyncio.sleep(0)
            assert parts.bodies.get(stored["act_2"]) is None
            assert not list((tmp_path / "serve-cache").iterdir())
        finally:
            parts.close()

    asyncio.run(go())


def test_a_switch_is_noticed(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The watcher's settings return the new query after its next look, and keep it while the database is away."""
    old, new = Settings(), Settings(reports={"default": {"level": "campaign"}})
    for settings in (old, new):
        configured = {"default": settings.configured_spec("default")}
        settings.use_specs(report_versions.register(engine, configured, NOW, timedelta(hours=24)))
    report_versions.switch(engine, "default", NOW)

    async def watch() -> None:
        watcher = QueryWatcher(engine, old, 0.01)
        watcher.start()
        async with asyncio.timeout(30):
            while old.spec("default").level != "campaign":  # noqa: ASYNC110 - nothing tells of the look
                await asyncio.sleep(0)
        await watcher.close()

    asyncio.run(watch())

    def lost(*arguments: object) -> None:
        raise Transient("the database is away")

    monkeypatch.setattr(query_watcher.report_versions, "load_specs", lost)
    QueryWatcher(engine, old).refresh()
    assert old.spec("default").level == "campaign"
