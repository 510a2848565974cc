"""Statistics of compression by day: added up, listed, totaled and deleted after a year."""

from datetime import UTC, datetime, timedelta, timezone

from sqlalchemy import Engine, select

from adwarm.compression.statistics import add_counts, get_compression_totals
from adwarm.model import CompressionCounts, Latencies
from adwarm.store import amounts, read_transaction

AT = datetime(2026, 11, 25, 12, tzinfo=UTC)
DAY = timedelta(days=1)
ZSTD = CompressionCounts(packed=2, raw_bytes=1000, stored_bytes=100, pack_seconds=0.5, cache_hits=7)
GZIP = CompressionCounts(unpacked=3, unpack_seconds=0.25, errors=1)


def test_counts_of_a_day_add_up(engine: Engine) -> None:
    """Two flushes of a day add to the same rows; what is 0 has none, and nothing to add writes nothing."""
    add_counts(engine, AT, {"zstd": ZSTD})
    add_counts(engine, AT, {"zstd": ZSTD, "gzip": GZIP})
    add_counts(engine, AT, {})
    totals = get_compression_totals(engine, AT)
    assert totals.codecs == {"gzip": GZIP, "zstd": ZSTD + ZSTD}
    with read_transaction(engine) as connection:
        rows = connection.execute(select(amounts.table.c.name).where(amounts.table.c.subject == "zstd")).scalars()
        assert sorted(rows) == [
            "compression.cache_hits",
            "compression.pack_seconds",
            "compression.packed",
            "compression.raw_bytes",
            "compression.stored_bytes",
        ]


def test_days_are_days_of_utc(engine: Engine) -> None:
    """A moment in another zone counts for its UTC day."""
    late = datetime(2026, 11, 26, 1, tzinfo=timezone(timedelta(hours=2)))
    add_counts(engine, late, {"zstd": ZSTD})
    assert get_compression_totals(engine, AT).total == ZSTD
    assert get_compression_totals(engine, AT + DAY).total == CompressionCounts()


def test_totals_start_at_a_day(engine: Engine) -> None:
    """Totals count from the day of the moment on, over all codecs and by codec."""
    add_counts(engine, AT - 2 * DAY, {"zstd": ZSTD})
    add_counts(engine, AT, {"zstd": ZSTD, "gzip": GZIP})
    totals = get_compression_totals(engine, AT - DAY)
    assert (totals.since, totals.total) == (AT.date() - DAY, ZSTD + GZIP)
    assert totals.codecs == {"gzip": GZIP, "zstd": ZSTD}
    assert get_compression_totals(engine, AT - 2 * DAY).total.packed == 4
    assert get_compression_totals(engine, AT + DAY).to_dict()["codecs"] == []


def test_latencies_add_up_over_processes_and_days(engine: Engine) -> None:
    """Median and 95th percentile are those of all payloads of a codec since the day, and of all codecs together."""
    quick, slow = Latencies(dict.fromkeys(range(-90, -80), 10)), Latencies({0: 10})
    add_counts(engine, AT - 2 * DAY, {"zstd": CompressionCounts(pack_latencies=slow)})
    for took in (quick, slow):
        counts = CompressionCounts(packed=1, pack_latencies=took, unpack_latencies=slow)
        add_counts(engine, AT, {"zstd": counts, "gzip": CompressionCounts(unpack_latencies=quick)})
    totals = get_compression_totals(engine, AT - DAY)
    zstd, both = totals.codecs["zstd"], totals.total
    assert (zstd.pack_latencies, zstd.unpack_latencies) == (quick + slow, slow + slow)
    assert both.unpack_latencies == quick + quick + slow + slow
    document = zstd.to_dict()
    assert (document["median_pack_ms"], document["p95_pack_ms"]) == (quick.quantile_ms(0.55), slow.quantile_ms(0.5))
    assert get_compression_totals(engine, AT - 2 * DAY).total.pack_latencies == quick + slow + slow


def test_a_document_has_ratio_savings_and_mean_times() -> None:
    """The ratio is bytes after per byte before; means are per payload; without a payload they are None."""
    document = (ZSTD + GZIP).to_dict()
    assert (document["ratio"], document["saved_bytes"], document["errors"]) == (0.1, 900, 1)
    assert (document["mean_pack_ms"], round(document["mean_unpack_ms"], 1)) == (250.0, 83.3)
    assert document["cache_hits"] == 7
    empty = CompressionCounts().to_dict()
    assert (empty["median_pack_ms"], empty["p95_unpack_ms"]) == (None, None)
    assert (empty["ratio"], empty["mean_pack_ms"], empty["mean_unpack_ms"]) == (None, None, None)
