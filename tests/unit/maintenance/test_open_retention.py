"""Days of the open log are deleted when they are older than the setting says."""

from datetime import UTC, date, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from adwarm.access_log.open_files import OPEN_FILE_SCHEMA, OpenFiles
from adwarm.maintenance.open_retention import prune_open_log
from adwarm.settings import RetentionSettings, Settings
from adwarm.store import Context
from adwarm.store.objects import ObjectStore

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.mark.parametrize("is_local", [True, False])
def test_old_days_go_and_others_stay(sqlite_engine: Engine, tmp_path: Path, *, is_local: bool) -> None:
    """The oldest day that is kept began `traffic_days` ago; running again deletes nothing."""
    url = str(tmp_path) if is_local else f"memory://{tmp_path.name}"
    settings = Settings(home=tmp_path, data_url=url, retention=RetentionSettings(traffic_days=60))
    files = OpenFiles(url)
    days = [date(2026, 11, 25) - timedelta(days=age) for age in (0, 59, 60, 61, 400)]
    for day in days:
        for name in ("a", "b"):
            files.put(day, name, OPEN_FILE_SCHEMA.empty_table())
    context = Context(sqlite_engine, ObjectStore(url), settings)
    assert prune_open_log(context, NOW) == 4
    assert [day for day in files.list_days() if files.list_files([day])] == sorted(days[:3])
    assert prune_open_log(context, NOW) == 0
