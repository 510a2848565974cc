"""Recompression keeps every document and only ever makes entries smaller."""

import pytest

from adwarm.compression import CONTENT_TYPE, decode_envelope
from adwarm.maintenance.recompression import recompress_entries
from adwarm.model import ReportKey
from adwarm.serving import ReadStatus
from adwarm.settings import CompressionSettings
from adwarm.store import entries
from tests.unit.conftest import NOW, ReaderHarness

KEY = ReportKey("act_1", "last_30d")
PLAIN = CompressionSettings(codec="identity")


@pytest.fixture
def plain(desk: ReaderHarness) -> ReaderHarness:
    """One entry, stored without compression."""
    desk.bench.use_compression(PLAIN)
    desk.warm(KEY)
    return desk


def test_an_entry_is_recompressed_where_that_is_smaller(plain: ReaderHarness) -> None:
    """The document is the same afterwards, with the new codec; a second run changes nothing."""
    before = plain.reader.get_body(plain.reader.read(KEY))
    counts = recompress_entries(plain.engine, CompressionSettings(codec="brotli"), NOW)
    assert (counts["entries"], counts["repacked"], counts["corrupt"]) == (1, 1, 0)
    assert counts["bytes_after"] < counts["bytes_before"]
    answer = plain.reader.read(KEY)
    assert answer.entry is not None
    assert (answer.status, answer.entry.codec, plain.reader.get_body(answer)) == (ReadStatus.HIT, "brotli", before)
    assert answer.blob is not None
    assert decode_envelope(answer.blob).content_type == answer.entry.content_type == CONTENT_TYPE
    assert recompress_entries(plain.engine, CompressionSettings(codec="brotli"), NOW)["repacked"] == 0


def test_it_never_makes_an_entry_larger(plain: ReaderHarness) -> None:
    """An entry that is already small stays as it is."""
    recompress_entries(plain.engine, CompressionSettings(codec="zstd"), NOW)
    before = entries.list_entries(plain.engine)
    assert recompress_entries(plain.engine, PLAIN, NOW)["repacked"] == 0
    assert entries.list_entries(plain.engine) == before


def test_a_damaged_entry_is_marked_and_not_recompressed(plain: ReaderHarness) -> None:
    """A corrupt entry is counted, marked degraded, and left."""
    plain.corrupt_payloads()
    counts = recompress_entries(plain.engine, CompressionSettings(), NOW)
    assert (counts["corrupt"], counts["repacked"]) == (1, 0)
    assert entries.list_entries(plain.engine)[0].degraded
