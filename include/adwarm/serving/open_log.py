"""Appends opens to a log of JSON lines, one write call per event, so that processes may share the file."""

import os
from datetime import datetime
from pathlib import Path

import orjson

from adwarm.foundation.clock import utc
from adwarm.model import Actor, ReportKey


class AccessLogWriter:
    """Appends to the local file `path`, which is made on the first event. Rotation is noticed by itself."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def append(
        self,
        at: datetime,
        key: ReportKey,
        *,
        actor: Actor = Actor.HUMAN,
        hit: bool | None = None,
        latency_ms: float | None = None,
        time_zone: str | None = None,
    ) -> None:
        """Append one open of `key` at the moment `at`."""
        event = {
            "ts": utc(at).isoformat(timespec="microseconds"),
            "account_id": key.account_id,
            "date_range": key.date_range,
            "report": key.report,
            "actor": str(actor),
            "time_zone": time_zone,
            "hit": hit,
            "latency_ms": latency_ms,
        }
        line = orjson.dumps({name: value for name, value in event.items() if value is not None}) + b"\n"
        self.path.parent.mkdir(parents=True, exist_ok=True)
        # O_APPEND and one write: the kernel keeps lines of several writers whole.
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, line)
        finally:
            os.close(handle)
