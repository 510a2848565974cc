"""`adwarm patterns LOG`: counts one log."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

import orjson
import pyarrow.parquet as pq
import pytest
from typer.testing import CliRunner

from adwarm.cli.app import app

MONDAY = datetime(2026, 3, 2, tzinfo=UTC)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Three weeks of Mondays at nine in Berlin, more of them for act_2, and one stray open."""
    rows = [
        {
            "ts": MONDAY + timedelta(weeks=week, hours=8, minutes=minute),
            "account_id": f"act_{account}",
            "date_range": "last_7d",
            "time_zone": "Europe/Berlin",
        }
        for week in range(3)
        for account in (1, 2)
        for minute in range(account)
    ]
    rows.append({**rows[0], "ts": MONDAY + timedelta(days=1, hours=22, minutes=30), "account_id": "act_3"})
    path = tmp_path / "log.jsonl"
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path


def test_the_most_opened_reports_are_shown(log: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """The most opened report is first, hours are the reader's; the whole table is written, and no home is created."""
    monkeypatch.setenv("ADWARM_HOME", str(tmp_path / "home"))
    out = tmp_path / "out" / "table.parquet"
    done = CliRunner().invoke(app, ["patterns", str(log), "--limit", "2", "--out", str(out), "--json"])
    found = orjson.loads(done.stdout)
    assert (done.exit_code, found["reports"]) == (0, 3)
    assert [(row["account_id"], row["opens"]) for row in found["most_opened"]] == [("act_2", 6), ("act_1", 3)]
    assert found["most_opened"][0]["busiest"] == [{"hour_of_week": 9, "opens": 6}]
    assert pq.read_table(out)["opens"].to_pylist() == [3, 6, 1]
    assert not (tmp_path / "home").exists()


def test_hours_are_shown_as_weekday_and_time(log: Path) -> None:
    """The table shows weekday and hour."""
    done = CliRunner().invoke(app, ["patterns", str(log)])
    assert "Mon 09:00 (6)" in done.stdout
    assert "Tue 23:00 (1)" in done.stdout
