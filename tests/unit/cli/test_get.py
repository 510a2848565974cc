"""`adwarm get`: a miss, a fetch, a hit, and an account that cannot be read."""

import csv
import sqlite3
from pathlib import Path

import orjson
import pytest

from graph_simulator.server import SimulatorServer

from .conftest import Adwarm


def test_get_on_a_miss_says_what_to_do(adwarm: Adwarm, platform: SimulatorServer) -> None:
    """A miss is one line and exit 1; with --fetch the report is fetched, the second time without a call."""
    missed = adwarm("get", "act_1", "yesterday")
    assert (missed.exit_code, missed.stdout, missed.stderr.count("\n")) == (1, "", 1)
    assert "adwarm get --fetch" in missed.stderr
    assert adwarm("get", "act_1", "yesterday", "--json").json["kind"] == "NotFound"
    fetched = adwarm("get", "act_1", "yesterday", "--fetch")
    assert fetched.json["account_id"] == "act_1"
    assert fetched.stderr.startswith("fetched, ")
    calls = platform.calls()["total"]
    assert adwarm("get", "act_1", "yesterday", "--fetch", "--json").json == fetched.json
    assert adwarm("get", "act_1", "yesterday", "--meta").json["status"] == "hit"
    assert platform.calls()["total"] == calls


def test_get_of_an_unreadable_account_says_why(adwarm: Adwarm) -> None:
    """The platform's error is one line with its reason."""
    result = adwarm("get", "act_9", "today", "--fetch")
    assert (result.exit_code, result.stderr.count("\n")) == (1, 1)
    assert result.stderr.startswith("adwarm: act_9 today: ")


def test_every_command_says_that_a_file_is_damaged(adwarm: Adwarm, home: Path, subtests: pytest.Subtests) -> None:
    """Overwritten pages are damage with what to do, in one line, whichever command meets them."""
    adwarm("warm", "act_1", "--range", "yesterday")
    path = home / "adwarm.db"
    with sqlite3.connect(path) as connection:
        connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    (home / "damaged").write_bytes(path.read_bytes()[:8192] + b"\xff" * (path.stat().st_size - 8192))
    (home / "damaged").replace(path)
    for command in ("get act_1 yesterday", "get act_1 yesterday --fetch", "status", "accounts list", "token list"):
        with subtests.test(command=command):
            failed = adwarm(*command.split())
            assert (failed.exit_code, failed.stderr.count("\n")) == (1, 1)
            assert "adwarm.db: the database file is damaged (" in failed.stderr
            assert "restore a backup" in failed.stderr


def test_a_report_in_every_shape(adwarm: Adwarm) -> None:
    """The stored document by default; rows and columns are JSON, the others hold one table."""
    adwarm("warm", "act_1", "--range", "last_7d")
    stored = adwarm("get", "act_1", "last_7d", "--json").json
    assert adwarm("get", "act_1", "last_7d", "--shape", "columnar", "--json").json == stored
    rows = adwarm("get", "act_1", "last_7d", "--shape", "rows", "--json").json
    assert len(rows["daily"]) == stored["daily"]["rows"] > len(rows["summary"]) == stored["summary"]["rows"] > 0
    lines = adwarm("get", "act_1", "last_7d", "--shape", "ndjson", "--table", "summary").stdout.splitlines()
    assert [orjson.loads(line) for line in lines] == rows["summary"]
    header, *cells = csv.reader(adwarm("get", "act_1", "last_7d", "--shape", "csv").stdout.splitlines())
    assert [row[header.index("ad_id")] for row in cells] == [row["ad_id"] for row in rows["daily"]]


def test_a_shape_that_is_none_is_refused(adwarm: Adwarm) -> None:
    """An unknown shape or table, and a shape that is not JSON beside --json, say what to write."""
    assert "columnar, rows, ndjson, csv, arrow" in adwarm("get", "act_1", "today", "--shape", "xml").stderr
    assert "daily and summary" in adwarm("get", "act_1", "today", "--table", "hours").stderr
    refused = adwarm("get", "act_1", "today", "--shape", "csv", "--json")
    assert (refused.exit_code, refused.json["kind"]) == (1, "BadRequest")
    assert "--shape rows" in refused.json["error"]
