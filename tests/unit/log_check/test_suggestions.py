"""Times without a zone are asked about, with the peak hour that each answer gives."""

from datetime import UTC, datetime
from pathlib import Path

import orjson
import pytest

from adwarm.access_log import read_events
from adwarm.log_check.check import check_log
from adwarm.log_check.suggestions import suggest
from adwarm.settings import AccessLogSettings, Settings

NOW = datetime(2026, 3, 3, tzinfo=UTC)


def _advise(path: Path, settings: Settings) -> str:
    return "\n".join(suggest(check_log(str(path), settings), settings, NOW))


def _write(path: Path, **more: str) -> Path:
    rows = [{"ts": f"2026-03-02 0{hour}:30:00", "account_id": "1", "date_range": "today", **more} for hour in (8, 9, 9)]
    path.write_bytes(b"".join(orjson.dumps(row) + b"\n" for row in rows))
    return path


def test_local_times_are_read_in_the_zone_of_their_row(tmp_path: Path) -> None:
    """The clock of the row's zone is meant, whatever the format; the setting says otherwise."""
    path = _write(tmp_path / "a.jsonl", time_zone="Asia/Tokyo")
    (batch,) = read_events(str(path), Settings())
    assert batch["ts"][0].as_py() == datetime(2026, 3, 1, 23, 30, tzinfo=UTC)
    advice = _advise(path, Settings())
    assert "most opens are at 09:00 there" in advice
    assert "set ADWARM_ACCESS_LOG__TIMESTAMP_ZONE=UTC, and most are at 18:00 in Asia/Tokyo" in advice
    is_utc = Settings(access_log=AccessLogSettings(timestamp_zone="UTC"))
    (batch,) = read_events(str(path), is_utc)
    assert batch["ts"][0].as_py() == datetime(2026, 3, 2, 8, 30, tzinfo=UTC)
    assert "name no zone, and" not in _advise(path, is_utc)


def test_times_without_any_zone_are_a_question(tmp_path: Path, subtests: pytest.Subtests) -> None:
    """Both answers are named with their hour; times with a zone, and an answered question, are not asked about."""
    advice = _advise(_write(tmp_path / "a.jsonl"), Settings())
    assert "most opens are at 09:00 UTC" in advice
    assert "such as Europe/Berlin, and most are at 08:00 UTC" in advice
    for text in ("2026-03-02T09:30:00Z", "2026-03-02 09:30:00+01:00", "1772445600"):
        with subtests.test(text=text):
            (tmp_path / "b.csv").write_text(f"ts,account_id,date_range\n{text},1,today\n")
            assert "are read as UTC" not in _advise(tmp_path / "b.csv", Settings())
