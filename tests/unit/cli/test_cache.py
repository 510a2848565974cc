"""`adwarm cache`: list, inspect, purge and compact."""

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


def _fetch_two(adwarm: Adwarm) -> None:
    assert adwarm("get", "act_1", "yesterday", "--fetch").exit_code == 0
    assert adwarm("get", "act_2", "last_7d", "--fetch").exit_code == 0


def test_list_shows_every_entry(adwarm: Adwarm, home: Path) -> None:
    """Entries with sizes, and totals beside the budget; an order that does not exist is refused."""
    assert adwarm("cache", "list").stdout.strip().endswith("nothing is stored yet")
    _fetch_two(adwarm)
    document = adwarm("cache", "list", "--json", "--sort", "bytes").json
    sizes = [item["stored_bytes"] for item in document["entries"]]
    assert (document["count"], document["stored_bytes"], sizes) == (2, sum(sizes), sorted(sizes, reverse=True))
    only = adwarm("cache", "list", "--json", "--account", "2").json
    assert [item["account_id"] for item in only["entries"]] == ["act_2"]
    assert "act_1" in adwarm("cache", "list").stdout
    assert "write one of" in adwarm("cache", "list", "--sort", "color").stderr


def test_inspect_shows_what_answers_a_key(adwarm: Adwarm, home: Path) -> None:
    """The entry that answers the key now, and an error that says how to fetch a missing one."""
    _fetch_two(adwarm)
    (entry,) = adwarm("cache", "inspect", "act_1", "yesterday", "--json").json["entries"]
    assert (entry["answers_the_key"], entry["is_fresh"], entry["eviction"]) == (True, True, None)
    assert "stored_bytes" in adwarm("cache", "inspect", "act_1", "yesterday").stdout
    missing = adwarm("cache", "inspect", "act_3", "yesterday")
    assert (missing.exit_code, "adwarm get --fetch act_3 yesterday" in missing.stderr) == (1, True)


def test_purge_deletes_what_was_chosen(adwarm: Adwarm, home: Path) -> None:
    """Nothing without a choice, nothing in a dry run; conditions narrow each other; the days of the entry stay."""
    _fetch_two(adwarm)
    refused = adwarm("cache", "purge")
    assert (refused.exit_code, "say what to delete" in refused.stderr) == (1, True)
    dry = adwarm("cache", "purge", "--all", "--dry-run", "--json").json
    assert (dry["entries"], dry["is_dry_run"], adwarm("cache", "list", "--json").json["count"]) == (2, True, 2)
    assert adwarm("cache", "purge", "--account", "act_1", "--expired", "--json").json["entries"] == 0
    assert adwarm("cache", "purge", "--over-budget", "--json").json["entries"] == 0
    assert adwarm("cache", "purge", "--all", "--unread-days", "1", "--json").json["entries"] == 0
    done = adwarm("cache", "purge", "--account", "act_1", "--date-range", "yesterday")
    assert "deleted 1 entry" in done.stdout
    assert adwarm("get", "act_1", "yesterday", "--meta").json["served_from"] == "partitions"
    assert adwarm("get", "act_2", "last_7d").exit_code == 0
