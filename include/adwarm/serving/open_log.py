"""Appends opens to an access log of JSON lines; one write per event, so several processes may share the file."""

import os
from datetime import datetime
from pathlib import Path

import orjson

from adwarm.foundation.clock import utc
from adwarm.model import Actor, ReportKey


class AccessLogWriter:
    """Appends to the local file `path`, which the first event creates. It follows a rotated file without a restart."""

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
        """Append one open.

        Args:
            at: when the key was opened.
            key: the report key.
            actor: who opened it.
            hit: whether a fresh entry was served; None when unknown.
            latency_ms: how long the response took.
            time_zone: the reader's zone, an IANA name.
        """
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
        # O_APPEND and a single write: the kernel does not interleave the lines of several writers.
        handle = os.open(self.path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, 0o644)
        try:
            os.write(handle, line)
        finally:
            os.close(handle)
