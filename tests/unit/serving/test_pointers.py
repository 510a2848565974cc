"""Pointers: reused for a moment only, read once for all who come at a time, never past midnight."""

import asyncio
import threading
from collections.abc import Callable, Iterator
from concurrent.futures import Executor, Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any, Self

import pytest
from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import event

from adwarm.foundation.errors import BadRequest
from adwarm.model import Account, ReportKey, resolve_window
from adwarm.serving.pointers import Pointer, PointerCache, _validity
from adwarm.store import Context, accounts
from adwarm_client.date_ranges import PRESETS
from tests.unit.conftest import NOW, SQLITE_ONLY, ReaderHarness

KEY = ReportKey("act_1", "yesterday")


@pytest.fixture
def executor() -> Iterator[ThreadPoolExecutor]:
    """Two threads."""
    with ThreadPoolExecutor(2) as threads:
        yield threads


def _cache(reading: ReaderHarness, executor: Executor, seconds: float) -> PointerCache:
    context: Context = reading.harness.prefetch.context
    serving = context.settings.serving.model_copy(update={"pointer_seconds": seconds})
    settings = context.settings.model_copy(update={"serving": serving})
    clock = reading.harness.clock
    return PointerCache(replace(context, settings=settings), clock, executor, lambda: clock.now().timestamp())


def test_a_new_entry_is_seen_within_the_setting(reading: ReaderHarness, executor: ThreadPoolExecutor) -> None:
    """A pointer without an entry is reused for less than `pointer_seconds`; then the entry is found."""
    cache, clock = _cache(reading, executor, 1.0), reading.harness.clock

    async def read() -> tuple[Pointer | None, ...]:
        await cache.load(KEY)
        await asyncio.to_thread(reading.warm, KEY)
        clock.sleep(0.9)
        early = cache.get(KEY, clock.now())
        clock.sleep(0.1)
        return early, cache.get(KEY, clock.now()), await cache.load(KEY)

    early, late, new = asyncio.run(read())
    assert early is not None
    assert new is not None
    assert (early.entry, late) == (None, None)
    assert new.entry is not None


@SQLITE_ONLY
def test_a_key_in_use_is_read_again_in_advance(reading: ReaderHarness, executor: ThreadPoolExecutor) -> None:
    """From half of the setting on a reader starts one read and does not wait; a failed one changes nothing."""
    cache, clock = _cache(reading, executor, 1.0), reading.harness.clock

    async def use(seconds: float, count: int) -> Pointer | None:
        clock.sleep(seconds)
        pointers = [cache.get(KEY, clock.now()) for _ in range(3)]
        await asyncio.gather(*cache._tasks)
        assert (slow.count, len({id(pointer) for pointer in pointers})) == (count, 1)
        return pointers[0]

    async def read() -> None:
        first = await cache.load(KEY)
        assert await use(0.4, 1) is first
        assert await use(0.2, 2) is first
        second = await use(0.4, 2)
        assert second not in (None, first)
        with pytest.MonkeyPatch.context() as patch:
            patch.setattr(cache, "read", lambda zones: 1 / 0)
            assert await use(0.2, 2) is second
        assert await use(0.1, 3) is second

    with _SlowReads(reading) as slow:
        slow.may_end.set()
        asyncio.run(read())


@SQLITE_ONLY
def test_with_zero_nothing_is_reused(reading: ReaderHarness, executor: ThreadPoolExecutor) -> None:
    """Even at the same moment the database is asked again."""
    cache = _cache(reading, executor, 0.0)
    asyncio.run(cache.load(KEY))
    assert cache.get(KEY, reading.harness.clock.now()) is None


@SQLITE_ONLY
def test_freshness_is_not_cached(reading: ReaderHarness, executor: ThreadPoolExecutor) -> None:
    """A cached pointer says when the entry expires; whether it has is asked by the clock."""
    reading.warm(KEY)
    cache, clock = _cache(reading, executor, 1.0), reading.harness.clock
    clock.set(NOW + timedelta(hours=6, milliseconds=-400))
    entry = asyncio.run(cache.load(KEY)).entry
    assert entry is not None
    assert entry.is_fresh(clock.now())
    clock.sleep(0.4)
    assert cache.get(KEY, clock.now()) is not None
    assert not entry.is_fresh(clock.now())


@SQLITE_ONLY
def test_a_changed_zone_is_followed(reading: ReaderHarness, executor: ThreadPoolExecutor) -> None:
    """The zone of the last read is only a guess: when the account has another one now, its window is read."""
    cache = _cache(reading, executor, 0.0)
    reading.harness.clock.set(datetime(2026, 11, 25, 2, 0, tzinfo=UTC))
    before = asyncio.run(cache.load(KEY))
    accounts.save(reading.engine, [Account("act_1", "America/New_York", "America/New_York")], NOW)
    after = asyncio.run(cache.load(KEY))
    assert (before.is_known, before.data_zone, str(before.window)) == (False, "UTC", "2026-11-24..2026-11-24")
    assert (after.is_known, after.data_zone, str(after.window)) == (True, "America/New_York", "2026-11-23..2026-11-23")


@SQLITE_ONLY
def test_an_unknown_report_is_an_error_for_all_who_wait(reading: ReaderHarness, executor: ThreadPoolExecutor) -> None:
    """The error of a shared read reaches every caller, and nothing is left behind."""
    cache = _cache(reading, executor, 1.0)
    key = ReportKey("act_1", "yesterday", "nothing")

    async def load() -> list[BaseException | object]:
        return await asyncio.gather(cache.load(key), cache.load(key), return_exceptions=True)

    assert [type(result) for result in asyncio.run(load())] == [BadRequest, BadRequest]
    assert cache._running == {}


class _SlowReads:
    """Counts statements and holds the first one until it is released."""

    def __init__(self, reading: ReaderHarness) -> None:
        self.count = 0
        self.has_started, self.may_end = threading.Event(), threading.Event()
        self.engine = reading.engine

    def __enter__(self) -> Self:
        event.listen(self.engine, "before_cursor_execute", self._hold)
        return self

    def __exit__(self, *error: object) -> None:
        event.remove(self.engine, "before_cursor_execute", self._hold)

    def _hold(self, _connection: object, _cursor: object, statement: str, *_more: object) -> None:
        if "FROM entry" in statement:
            self.count += 1
            if self.count == 1:
                self.has_started.set()
                self.may_end.wait(20)


@pytest.mark.parametrize(("seconds", "statements"), [(1.0, 1), (0.0, 2)])
def test_readers_share_reads(
    reading: ReaderHarness, executor: ThreadPoolExecutor, seconds: float, statements: int
) -> None:
    """Those who come during a read share it while it is recent enough for them, else they share the next one."""
    cache, clock = _cache(reading, executor, seconds), reading.harness.clock

    async def load() -> None:
        first = asyncio.create_task(cache.load(KEY))
        await asyncio.to_thread(slow.has_started.wait, 20)
        clock.sleep(0.001)
        later = [asyncio.create_task(cache.load(KEY)) for _ in range(50)]
        await asyncio.sleep(0)
        slow.may_end.set()
        await asyncio.gather(first, *later)

    with _SlowReads(reading) as slow:
        asyncio.run(load())
        assert slow.count == statements


def test_keys_that_come_together_are_read_together(reading: ReaderHarness, executor: ThreadPoolExecutor) -> None:
    """Sixty keys need a few statements and get what each gets alone: stored or not, of two zones, one with an error."""
    cache, clock = _cache(reading, executor, 0.0), reading.harness.clock
    clock.set(datetime(2026, 11, 25, 2, 0, tzinfo=UTC))
    names = [f"act_{number}" for number in range(1, 58)]
    accounts.save(reading.engine, [Account(name, "America/New_York", "America/New_York") for name in names[:30]], NOW)
    keys = [
        *(ReportKey(name, "yesterday") for name in names),
        ReportKey("act_1", "last_7d"),
        ReportKey("act_1", "yesterday", "nothing"),
        ReportKey("act_58", "today"),
    ]
    reading.warm(keys[0], keys[40])

    async def load(*some: ReportKey) -> list[Pointer | BaseException]:
        return await asyncio.gather(*(cache.load(key) for key in some), return_exceptions=True)

    with _SlowReads(reading) as slow:
        slow.may_end.set()
        together = asyncio.run(load(*keys))
        assert slow.count <= 8
    alone = [asyncio.run(load(key))[0] for key in keys]
    assert [_describe(item) for item in together] == [_describe(item) for item in alone]
    assert [isinstance(item, Pointer) and item.entry is not None for item in together].count(True) == 2
    assert isinstance(together[58], BadRequest)


class _Held(Executor):
    """Runs statements in the thread of the loop when it is released, so that the turns of the loop are the same."""

    def __init__(self) -> None:
        self.held: list[Callable[[], None]] | None = []

    def submit(self, fn: Callable[..., Any], /, *args: Any, **kwargs: Any) -> Future[Any]:
        """Hold a statement, or run it at once after the release."""
        future: Future[Any] = Future()

        def run() -> None:
            future.set_result(fn(*args, **kwargs))

        if self.held is None:
            run()
        else:
            self.held.append(run)
        return future

    def release(self) -> None:
        """Run what is held."""
        held, self.held = self.held or [], None
        for run in held:
            run()


@SQLITE_ONLY
@pytest.mark.parametrize("turns", range(8))
def test_a_key_is_read_that_comes_as_both_statements_end(reading: ReaderHarness, turns: int) -> None:
    """Two statements run and end in one turn of the loop; a key that comes in that turn, or near it, is read too."""
    held = _Held()
    cache = _cache(reading, held, 0.0)

    async def load() -> list[Pointer]:
        tasks = []
        for name in ("act_1", "act_2"):
            tasks.append(asyncio.create_task(cache.load(ReportKey(name, "yesterday"))))
            for _ in range(3):
                await asyncio.sleep(0)
        assert len(held.held or []) == 2
        held.release()
        for _ in range(turns):
            await asyncio.sleep(0)
        tasks.append(asyncio.create_task(cache.load(ReportKey("act_3", "yesterday"))))
        return await asyncio.wait_for(asyncio.gather(*tasks), 20)

    assert [pointer.key.account_id for pointer in asyncio.run(load())] == ["act_1", "act_2", "act_3"]


def _describe(item: Pointer | BaseException) -> object:
    return replace(item, read_at=0.0) if isinstance(item, Pointer) else str(item)


@SQLITE_ONLY
def test_a_reader_that_leaves_does_not_end_the_read(reading: ReaderHarness, executor: ThreadPoolExecutor) -> None:
    """The read goes on for the others."""
    cache = _cache(reading, executor, 1.0)

    async def load() -> object:
        first = asyncio.create_task(cache.load(KEY))
        await asyncio.to_thread(slow.has_started.wait, 20)
        second = asyncio.create_task(cache.load(KEY))
        await asyncio.sleep(0)
        first.cancel()
        slow.may_end.set()
        return await second

    with _SlowReads(reading) as slow:
        assert asyncio.run(load()) is cache.get(KEY, NOW)
        assert slow.count == 1


@given(
    st.datetimes(datetime(2025, 1, 1), datetime(2027, 1, 1), timezones=st.just(UTC)),
    st.sampled_from(["UTC", "America/Havana", "Africa/Cairo", "Asia/Beirut", "America/Santiago", "Pacific/Chatham"]),
    st.sampled_from(sorted(PRESETS)),
    st.floats(0, 1),
)
def test_a_window_does_not_move_while_it_is_valid(moment: datetime, zone: str, preset: str, part: float) -> None:
    """Between the two midnights a preset means the same days, also where the clock changes at midnight."""
    start, end = _validity(preset, zone, moment)
    assert start <= moment < end
    inside = start + part * (end - start - timedelta(microseconds=1))
    assert resolve_window(preset, zone, inside) == resolve_window(preset, zone, moment)
    assert resolve_window("today", zone, end) != resolve_window("today", zone, moment)
