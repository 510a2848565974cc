"""Opens that are appended are read as events."""

from datetime import UTC, datetime
from pathlib import Path

from adwarm.access_log import read_events
from adwarm.model import Actor, ReportKey
from adwarm.serving.open_log import AccessLogWriter
from adwarm.settings import Settings


def test_what_is_written_is_read_back(tmp_path: Path) -> None:
    """Each field of an open survives the file."""
    writer = AccessLogWriter(tmp_path / "logs" / "access.jsonl")
    at = datetime(2026, 3, 8, 7, 30, 15, 123456, tzinfo=UTC)
    key = ReportKey("act_1", "last_7d")
    writer.append(at, key, actor=Actor.EMBEDDED, hit=True, latency_ms=2.5, time_zone="Asia/Tokyo")
    writer.append(at, key)
    rows = [row for batch in read_events(str(writer.path), Settings()) for row in batch.to_pylist()]
    assert rows[0] == {
        "ts": at,
        "account_id": "act_1",
        "date_range": "last_7d",
        "report": "default",
        "time_zone": "Asia/Tokyo",
        "actor": "embedded",
        "hit": True,
        "latency_ms": 2.5,
    }
    assert rows[1] == rows[0] | {"time_zone": "", "actor": "human", "hit": None, "latency_ms": None}
