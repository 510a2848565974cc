"""`adwarm cache`: list and purge."""

from pathlib import Path

from .conftest import Adwarm


def _fetch_two(adwarm: Adwarm) -> None:
    assert adwarm("get", "act_1", "yesterday", "--fetch").exit_code == 0
    assert adwarm("get", "act_2", "last_7d", "--fetch").exit_code == 0


def test_list_shows_every_entry(adwarm: Adwarm, home: Path) -> None:
    """Entries with sizes, the newest first, and totals beside the budget."""
    assert adwarm("cache", "list").stdout.strip().endswith("nothing is stored yet")
    _fetch_two(adwarm)
    document = adwarm("cache", "list", "--json").json
    sizes = [item["stored_bytes"] for item in document["entries"]]
    assert (document["count"], document["stored_bytes"]) == (2, sum(sizes))
    times = [item["fetched_at"] for item in document["entries"]]
    assert times == sorted(times, reverse=True)
    only = adwarm("cache", "list", "2", "--json").json
    assert [item["account_id"] for item in only["entries"]] == ["act_2"]
    assert "act_1" in adwarm("cache", "list").stdout
    assert adwarm("cache", "list", "2").stdout.strip().startswith("1 entry, ")
    (zones,) = [check["detail"] for check in adwarm("doctor", "--only", "time zones", "--json").json]
    assert zones == "2 accounts"


def test_a_key_shows_what_answers_it(adwarm: Adwarm, home: Path) -> None:
    """The entry that answers the key now, and an error that says how to fetch a missing one."""
    _fetch_two(adwarm)
    (entry,) = adwarm("cache", "list", "act_1", "yesterday", "--json").json["entries"]
    assert (entry["answers_the_key"], entry["is_fresh"], entry["eviction"]) == (True, True, None)
    assert "stored_bytes" in adwarm("cache", "list", "act_1", "yesterday").stdout
    missing = adwarm("cache", "list", "act_3", "yesterday")
    assert (missing.exit_code, "adwarm get --fetch act_3 yesterday" in missing.stderr) == (1, True)


def test_purge_deletes_what_was_chosen(adwarm: Adwarm, home: Path) -> None:
    """Nothing without a choice, nothing in a dry run; conditions narrow each other; the days of the entry stay."""
    _fetch_two(adwarm)
    refused = adwarm("cache", "purge")
    assert (refused.exit_code, "say what to delete" in refused.stderr) == (1, True)
    dry = adwarm("cache", "purge", "--all", "--dry-run", "--json").json
    assert (dry["entries"], dry["is_dry_run"], adwarm("cache", "list", "--json").json["count"]) == (2, True, 2)
    assert adwarm("cache", "purge", "--account", "act_1", "--expired", "--json").json["entries"] == 0
    done = adwarm("cache", "purge", "--account", "act_1", "--date-range", "yesterday")
    assert "deleted 1 entry" in done.stdout
    assert adwarm("get", "act_1", "yesterday", "--meta").json["served_from"] == "partitions"
    assert adwarm("get", "act_2", "last_7d").exit_code == 0
