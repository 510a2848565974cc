"""An access log as a user's application writes it."""

from datetime import datetime
from pathlib import Path

import orjson

from adwarm.foundation.clock import utc
from adwarm.model import Actor, ReportKey


class UserLog:
    """Appends opens as JSON lines to the file `path`, which the first open creates."""

    def __init__(self, path: str | Path) -> None:
        self.path = Path(path)

    def append(
        self, at: datetime, key: ReportKey, *, actor: Actor = Actor.HUMAN, request_id: str | None = None
    ) -> None:
        """Append one open."""
        event = {
            "ts": utc(at),
            "account_id": key.account_id,
            "date_range": key.date_range,
            "report": key.report,
            "actor": str(actor),
        }
        if request_id is not None:
            event["request_id"] = request_id
        self.path.parent.mkdir(parents=True, exist_ok=True)
        with self.path.open("ab") as file:
            file.write(orjson.dumps(event) + b"\n")
