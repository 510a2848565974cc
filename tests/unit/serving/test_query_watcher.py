"""A process that serves notices that a report was switched to another query."""

import asyncio
from datetime import timedelta

import pytest
from sqlalchemy import Engine

from adwarm.foundation.errors import Transient
from adwarm.serving import query_watcher
from adwarm.serving.query_watcher import QueryWatcher
from adwarm.settings import Settings
from adwarm.store import report_versions
from tests.unit.conftest import NOW


def test_a_switch_is_noticed(engine: Engine, monkeypatch: pytest.MonkeyPatch) -> None:
    """The watcher's settings return the new query after its next look, and keep it while the database is away."""
    old, new = Settings(), Settings(reports={"default": {"level": "campaign"}})
    for settings in (old, new):
        configured = {"default": settings.configured_spec("default")}
        settings.use_specs(report_versions.register(engine, configured, NOW, timedelta(hours=24)))
    report_versions.switch(engine, "default", NOW)

    async def watch() -> None:
        watcher = QueryWatcher(engine, old, 0.01)
        watcher.start()
        async with asyncio.timeout(30):
            while old.spec("default").level != "campaign":  # noqa: ASYNC110 - nothing tells of the look
                await asyncio.sleep(0)
        await watcher.close()

    asyncio.run(watch())

    def lost(*arguments: object) -> None:
        raise Transient("the database is away")

    monkeypatch.setattr(query_watcher.report_versions, "load_specs", lost)
    QueryWatcher(engine, old).refresh()
    assert old.spec("default").level == "campaign"
