"""`adwarm cache compact`."""

from datetime import UTC, date, datetime
from pathlib import Path

from adwarm.model import Row
from adwarm.runtime import Runtime
from adwarm.store import partitions
from adwarm.store.database import write_transaction
from adwarm.store.partition_rows import content_hash, pack_rows
from adwarm.store.partitions import PartitionState

from .conftest import Adwarm


def _two_days_in_two_objects() -> None:
    runtime, states = Runtime(), []
    for day in (date(2026, 6, 1), date(2026, 6, 2)):
        rows: list[Row] = [{"ad_id": "1", "date_start": str(day), "date_stop": str(day)}]
        digest = runtime.objects.put(pack_rows(rows))
        states.append(
            PartitionState(day, digest, 1, content_hash(rows), datetime(2026, 9, 1, tzinfo=UTC), True, True, 1, "v26.0")
        )
    with write_transaction(runtime.engine) as connection:
        partitions.publish(connection, "act_1", "spec", states, 1)


def test_compact_reports_counts(adwarm: Adwarm, home: Path) -> None:
    """A month in two objects is merged into one; a second run has nothing to do."""
    _two_days_in_two_objects()

    first, second = adwarm("cache", "compact", "--json"), adwarm("cache", "compact")

    assert (first.exit_code, first.json["months"], first.json["objects_before"], first.json["days"]) == (0, 1, 2, 2)
    assert (second.exit_code, "Compaction" in second.stdout) == (0, True)


def test_compact_names_what_it_cannot_read(adwarm: Adwarm, home: Path) -> None:
    """For a damaged month the exit code is 1, and the error says what to do."""
    _two_days_in_two_objects()
    for path in (home / "data").rglob("*.parquet"):
        path.write_bytes(b"?")

    result = adwarm("cache", "compact", "--json")

    assert result.exit_code == 1
    assert "verify --repair" in result.json["errors"][0]


def test_recompress_runs_within_its_time_and_dry(adwarm: Adwarm) -> None:
    """A read report is a candidate: dry runs change nothing, no CPU time means none, and a real run is done once."""
    adwarm("warm", "act_1", "--range", "last_30d")
    assert adwarm("cache", "recompress", "--json").json["candidates"] == 0
    adwarm("get", "act_1", "last_30d", "--actor", "human")

    dry = adwarm("cache", "recompress", "--dry-run", "--json")
    none = adwarm("cache", "recompress", "--cpu-seconds", "0", "--json")
    shown = adwarm("cache", "recompress")

    assert (dry.exit_code, dry.json["is_dry_run"], dry.json["candidates"], dry.json["recompressed"]) == (0, True, 1, 0)
    assert (none.json["candidates"], none.json["setting"]) == (0, "zstd-19")
    assert (shown.exit_code, "zstd-19" in shown.stdout) == (0, True)
