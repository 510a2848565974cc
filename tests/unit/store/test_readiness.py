"""Whether database and objects can be used: what `/readyz` and `adwarm doctor` ask."""

import shutil
from datetime import UTC, datetime
from pathlib import Path

import pytest
from sqlalchemy import create_engine, make_url, text

from adwarm.foundation.errors import BadRequest, StorageError, Transient
from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore
from adwarm.store.database import open_engine, write_transaction
from adwarm.store.partitions import table as partition
from adwarm.store.schema import require_current, require_objects, upgrade


def make_context(url: str, folder: Path) -> Context:
    """Return the stores of a process."""
    return Context(open_engine(url), ObjectStore(str(folder / "data")), Settings(home=folder))


def _make_day(digest: str) -> dict[str, object]:
    at = datetime(2026, 11, 25, 12, tzinfo=UTC)
    values: dict[str, object] = {"account_id": "act_1", "day": at.date(), "spec_hash": "x", "object_hash": digest}
    return {**values, "rows": 1, "content_hash": digest, "fetched_at": at}


@pytest.mark.postgres
def test_a_dropped_database_is_not_ready(postgres_url: str, tmp_path: Path) -> None:
    """A database that was dropped while a process is connected to it, and one without tables, are noticed."""
    server = create_engine(postgres_url, isolation_level="AUTOCOMMIT")
    with server.connect() as connection:
        connection.execute(text("CREATE DATABASE readiness"))
    context = make_context(
        make_url(postgres_url).set(database="readiness").render_as_string(hide_password=False), tmp_path
    )
    with pytest.raises(BadRequest, match="adwarm db upgrade"):
        require_current(context.engine)
    upgrade(context.engine)
    require_current(context.engine)
    require_objects(context)
    with server.connect() as connection:
        connection.execute(text("DROP DATABASE readiness WITH (FORCE)"))
    for _ in range(2):  # over the connection that was cut, and over a new one
        with pytest.raises(Transient):
            require_current(context.engine)
    context.engine.dispose()
    server.dispose()


def test_a_lost_folder_is_noticed_once_a_day_is_stored(tmp_path: Path) -> None:
    """Before the first day there is no folder; afterwards its absence is an error that names the setting."""
    context = make_context(f"sqlite:///{tmp_path}/adwarm.db", tmp_path)
    upgrade(context.engine)
    require_objects(context)
    digest = context.objects.put(b"rows")
    with write_transaction(context.engine) as connection:
        connection.execute(partition.insert(), _make_day(digest))
    require_objects(context)
    shutil.rmtree(tmp_path / "data")
    with pytest.raises(StorageError, match="ADWARM_DATA_URL"):
        require_objects(context)
