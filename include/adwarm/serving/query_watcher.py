"""How a process that serves learns that a report has another query."""

import asyncio
import logging
from typing import Final

from sqlalchemy import Engine

from adwarm.foundation.errors import Transient
from adwarm.settings import Settings
from adwarm.store import report_versions

log = logging.getLogger(__name__)
POLL_SECONDS: Final = 1.0


class QueryWatcher:
    """Reads once a second which queries are in use. Start it in the event loop that serves.

    Args:
        settings: the settings that the readers of this process share.
    """

    def __init__(self, engine: Engine, settings: Settings, seconds: float = POLL_SECONDS) -> None:
        self._engine = engine
        self._settings = settings
        self._seconds = seconds
        self._task: asyncio.Task[None] | None = None

    def start(self) -> None:
        """Begin to read."""
        self._task = asyncio.get_running_loop().create_task(self._run())

    async def close(self) -> None:
        """Stop reading."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)

    def refresh(self) -> None:
        """Read which queries are in use; the last known ones stay while the database cannot be reached."""
        try:
            specs = report_versions.load_specs(self._engine, self._settings.reports)
        except Transient as error:
            log.debug("the queries of reports cannot be read: %s", error)
            return
        self._settings.use_specs(specs)

    async def _run(self) -> None:
        while True:
            await asyncio.sleep(self._seconds)
            await asyncio.to_thread(self.refresh)
