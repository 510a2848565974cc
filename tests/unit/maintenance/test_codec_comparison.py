"""The comparison of codecs: the same documents for all, within the time, and an advice that follows the reads."""

from collections.abc import Callable

import pytest

from adwarm.foundation.errors import NotFound
from adwarm.maintenance.codec_comparison import CONTENDERS, CodecComparison, SettingFigures, compare_codecs
from adwarm.model import ReportKey
from adwarm.settings import CompressionSettings
from adwarm.store import entries
from tests.unit.conftest import NOW, SQLITE_ONLY, ReaderHarness

KEYS = [ReportKey("act_1", "last_30d"), ReportKey("act_2", "last_30d"), ReportKey("act_2", "yesterday")]


def _ticking(step: float) -> Callable[[], float]:
    readings = iter(range(10**6))
    return lambda: next(readings) * step


@pytest.fixture
def filled(desk: ReaderHarness) -> ReaderHarness:
    """Three entries; the second was read most."""
    desk.warm(*KEYS)
    for key, count in zip(KEYS, (2, 5, 0), strict=True):
        for _ in range(count):
            desk.reader.read(key)
    return desk


def _compare(desk: ReaderHarness, **values: object) -> CodecComparison:
    return compare_codecs(desk.bench.prefetch.context, **values)  # type: ignore[arg-type]


@SQLITE_ONLY
def test_all_settings_are_compared_on_the_same_documents(filled: ReaderHarness) -> None:
    """Each contender once, sizes as stored ones would be, and the current setting among them."""
    result = _compare(filled)
    assert {(item.codec, item.level) for item in result.settings} == set(CONTENDERS)
    assert {(item.documents, item.raw_bytes) for item in result.settings} == {(3, result.raw_bytes)}
    assert result.raw_bytes == sum(item.raw_bytes for item in entries.list_entries(filled.engine))
    assert [item.stored_bytes for item in result.settings] == sorted(item.stored_bytes for item in result.settings)
    assert (result.current, result.median_reads, result.many_reads) == ("zstd-6", 2.0, 5.0)
    names = {item.name for item in result.settings}
    assert {result.current, result.advised, result.advised_recompression} <= names


@SQLITE_ONLY
def test_the_settings_own_levels_are_compared_too(filled: ReaderHarness) -> None:
    """A level that is no contender by itself is added, for stored and for recompressed entries."""
    filled.bench.use_compression(CompressionSettings(codec="gzip", gzip_level=3, recompress_level=8))
    names = {item.name for item in _compare(filled).settings}
    assert {"gzip-3", "gzip-8"} <= names


def test_entries_with_most_bytes_read_are_used_first(filled: ReaderHarness) -> None:
    """With room for one entry it is the one that was read most."""
    result = _compare(filled, max_entries=1)
    (most_read,) = [item for item in entries.list_entries(filled.engine) if item.reads == 5]
    assert (result.documents, result.raw_bytes, result.median_reads) == (1, most_read.raw_bytes, 5.0)


@SQLITE_ONLY
def test_the_time_bounds_what_is_measured(filled: ReaderHarness) -> None:
    """When every call takes a second, little fits into 10 s, and the first document is cut to that."""
    largest = max(item.raw_bytes for item in entries.list_entries(filled.engine))
    result = _compare(filled, seconds=10, timer=_ticking(1.0))
    assert (result.documents, result.raw_bytes < largest) == (1, True)


@SQLITE_ONLY
def test_more_reads_advise_a_stronger_level(filled: ReaderHarness) -> None:
    """The cost weighs bytes by reads against the CPU time: few reads favor the fast one, many the small one."""
    fast = SettingFigures("zstd", 1, 10_000, 1_000, 0.001, 0.001, 1)
    small = SettingFigures("zstd", 19, 10_000, 900, 0.1, 0.001, 1)
    assert fast.get_cost(1, 250_000) < small.get_cost(1, 250_000)
    assert fast.get_cost(1_000, 250_000) > small.get_cost(1_000, 250_000)
    entries.add_reads(filled.engine, {item.key: 10**9 for item in entries.list_entries(filled.engine)}, NOW)
    result = _compare(filled)
    assert result.advised == result.settings[0].name


@SQLITE_ONLY
def test_without_reads_one_is_assumed_and_said(desk: ReaderHarness) -> None:
    """The reason names the assumption."""
    desk.warm(KEYS[0])
    result = _compare(desk)
    assert (result.median_reads, "since none was counted" in result.why) == (1.0, True)


@SQLITE_ONLY
def test_unreadable_entries_are_left_out(filled: ReaderHarness) -> None:
    """Damaged entries cannot be compared; without any other there is an error that says what to do."""
    filled.corrupt_payloads()
    with pytest.raises(NotFound, match="adwarm warm"):
        _compare(filled)
