"""Backups: what they hold, that damage is found, and that a restore changes all or nothing."""

import os
from datetime import UTC, datetime, timedelta
from itertools import product
from pathlib import Path

import orjson
import pytest
from sqlalchemy import Engine, delete, select, update

from adwarm.foundation.errors import BadRequest, Corrupt, NotFound
from adwarm.maintenance.backup import create_backup
from adwarm.maintenance.backup_folder import BackupFolder, Manifest
from adwarm.maintenance.restore import check_backup, restore_backup
from adwarm.runtime import Runtime
from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore, open_engine, read_transaction, upgrade, write_transaction
from adwarm.store.schema import get_current_revision, get_head_revision
from adwarm.store.tables import access_aggregate, account
from tests.unit.conftest import SQLITE_ONLY

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


@pytest.fixture
def context(engine: Engine, tmp_path: Path) -> Context:
    """An installation with one account and two hours of the log in one object, on either database."""
    return _install(engine, tmp_path)


def _install(engine: Engine, tmp_path: Path) -> Context:
    settings = Settings(home=tmp_path / "home")
    made = Context(engine, ObjectStore(settings.data), settings)
    _add_hour(made, NOW, b"one")
    with write_transaction(engine) as connection:
        row = {"id": "act_1", "data_zone": "UTC", "reader_zone": "UTC", "updated_at": NOW}
        connection.execute(account.insert(), row)
    return made


def _add_hour(context: Context, hour: datetime, content: bytes) -> str:
    digest = context.objects.put(content)
    row = {"hour": hour, "object_hash": digest, "opens": 1, "keys": 1, "updated_at": NOW}
    with write_transaction(context.engine) as connection:
        connection.execute(access_aggregate.insert(), row)
    return digest


def _empty(tmp_path: Path) -> Context:
    """A new installation on SQLite."""
    settings = Settings(home=tmp_path / "new")
    engine = open_engine(settings.database)
    upgrade(engine)
    return Context(engine, ObjectStore(settings.data), settings)


def _accounts(context: Context) -> list[str]:
    with read_transaction(context.engine) as connection:
        return list(connection.execute(select(account.c.id)).scalars())


def test_a_backup_is_restored_elsewhere(context: Context, tmp_path: Path) -> None:
    """Rows, objects and files of a backup are there after a restore into an empty installation."""
    opens = Path(context.settings.data) / "opens/2026-11-25"
    opens.mkdir(parents=True)
    (opens / "a.parquet").write_bytes(b"opens")
    (opens / ".b.parquet.12.0123abcd").write_bytes(b"unfinished")
    made = create_backup(context, str(tmp_path / "backups"), NOW)
    target = _empty(tmp_path)
    result = restore_backup(target, str(tmp_path / "backups"))

    assert (made.manifest.object_count, made.copied, result.objects) == (1, 1, 1)
    assert result.schema == get_head_revision() == get_current_revision(target.engine)
    assert _accounts(target) == ["act_1"]
    digest = next(iter(target.objects.list_objects()))[0]
    assert target.objects.get(digest) == b"one"
    assert list(made.manifest.files) == ["opens/2026-11-25/a.parquet"]
    assert (Path(target.settings.data) / "opens/2026-11-25/a.parquet").read_bytes() == b"opens"


@SQLITE_ONLY
def test_objects_are_shared_and_old_backups_deleted(context: Context, tmp_path: Path) -> None:
    """A second backup copies only what is new; `keep` deletes older backups with the objects that no other needs."""
    target = str(tmp_path / "backups")
    first = create_backup(context, target, NOW)
    with write_transaction(context.engine) as connection:
        connection.execute(delete(access_aggregate))
    _add_hour(context, NOW, b"two")
    second = create_backup(context, target, NOW + timedelta(hours=1))
    folder = BackupFolder(target)
    assert (first.copied, second.copied) == (1, 1)
    assert folder.list_names() == [first.name, second.name]
    (tmp_path / "backups/backups/20260101T000000Z/tables").mkdir(parents=True)  # was never completed

    for path in Path(target).rglob("*.parquet"):
        os.utime(path, (NOW.timestamp(),) * 2)
    third = create_backup(context, target, NOW + timedelta(days=2), keep=2)
    assert third.deleted == ("20260101T000000Z", first.name)
    assert {folder.objects.get(digest) for digest, _ in folder.objects.list_objects()} == {b"two"}
    assert check_backup(target, second.name).problems == []


@SQLITE_ONLY
def test_an_incomplete_backup_is_not_restored(context: Context, tmp_path: Path) -> None:
    """A backup without a manifest was not finished: it is never chosen, and naming it is an error."""
    target = str(tmp_path / "backups")
    with pytest.raises(NotFound, match="holds no complete backup"):
        check_backup(target)
    whole = create_backup(context, target, NOW)
    (tmp_path / "backups/backups/20270101T000000Z").mkdir()
    assert check_backup(target).name == whole.name
    with pytest.raises(NotFound, match="no complete backup 20270101T000000Z"):
        check_backup(target, "20270101T000000Z")
    with pytest.raises(BadRequest, match="no name of a backup"):
        check_backup(target, "../../etc")


def test_damage_is_found_before_anything_changes(sqlite_engine: Engine, tmp_path: Path) -> None:
    """A changed or missing table, list or object is named, and nothing is restored unless problems are allowed."""
    made, target = create_backup(_install(sqlite_engine, tmp_path), str(tmp_path / "backups"), NOW), _empty(tmp_path)
    for pattern, data in product(
        ("tables/account.jsonl.zst", "objects.jsonl.zst", "../../objects/*/*"), (b"other", b"")
    ):
        case = (pattern, data or "missing")
        (path,) = (tmp_path / "backups/backups" / made.name).glob(pattern)
        whole = path.read_bytes()
        path.unlink()
        if data:
            path.write_bytes(data)
        with pytest.raises(Corrupt, match=f"the backup {made.name} is damaged"):
            restore_backup(target, str(tmp_path / "backups"))
        assert (_accounts(target), list(target.objects.list_objects())) == ([], []), case
        if case == ("../../objects/*/*", "missing"):
            restore_backup(target, str(tmp_path / "backups"), allow_problems=True)
            assert _accounts(target) == ["act_1"]
        path.write_bytes(whole)


def test_a_filled_installation_is_not_overwritten(context: Context, tmp_path: Path) -> None:
    """A restore into a database with rows is refused, and with `replace` deletes them."""
    create_backup(context, str(tmp_path / "backups"), NOW)
    with write_transaction(context.engine) as connection:
        connection.execute(update(account).values(id="act_2"))
    with pytest.raises(BadRequest, match=r"not empty .*account.*--replace"):
        restore_backup(context, str(tmp_path / "backups"))
    assert _accounts(context) == ["act_2"]
    restore_backup(context, str(tmp_path / "backups"), replace=True)
    assert _accounts(context) == ["act_1"]


def test_a_restore_that_fails_changes_no_row(context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """An error between two tables leaves the database as it was, and the next attempt completes."""
    create_backup(context, str(tmp_path / "backups"), NOW)
    with write_transaction(context.engine) as connection:
        connection.execute(update(account).values(id="act_2"))
    calls = []

    def fail(*_arguments: object) -> None:
        calls.append(1)
        if len(calls) == 20:
            raise OSError("the power went out")

    monkeypatch.setattr("adwarm.maintenance.restore._load_table", fail)
    with pytest.raises(OSError, match="power"):
        restore_backup(context, str(tmp_path / "backups"), replace=True)
    assert _accounts(context) == ["act_2"]
    monkeypatch.undo()
    restore_backup(context, str(tmp_path / "backups"), replace=True)
    assert _accounts(context) == ["act_1"]


@SQLITE_ONLY
def test_missing_objects_are_told(context: Context, tmp_path: Path) -> None:
    """An object that the store has lost or damaged makes a backup with a problem, and not a wrong one."""
    lost = _add_hour(context, NOW + timedelta(hours=1), b"lost")
    context.objects.delete(lost)
    result = create_backup(context, str(tmp_path / "backups"), NOW)
    assert result.manifest.missing == (lost,)
    assert check_backup(str(tmp_path / "backups")).problems == [
        f"object {lost[:12]} was missing or damaged when the backup was made"
    ]


@SQLITE_ONLY
def test_objects_that_come_during_the_backup_are_in_it(
    context: Context, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A batch that writes between the copy of the objects and the snapshot loses nothing."""
    from adwarm.maintenance import backup

    original, added = backup.list_used_objects, []

    def list_and_write(engine: Engine) -> set[str]:
        used = original(engine)
        added.append(_add_hour(context, NOW + timedelta(hours=2), b"meanwhile"))
        return used

    monkeypatch.setattr(backup, "list_used_objects", list_and_write)
    create_backup(context, str(tmp_path / "backups"), NOW)
    target = _empty(tmp_path)
    restore_backup(target, str(tmp_path / "backups"))
    assert target.objects.get(added[0]) == b"meanwhile"


def test_no_secret_and_no_login_is_stored(tmp_path: Path) -> None:
    """Neither the platform's token nor a login at the page is in any file of a backup."""
    secret = "EAAB-secret-7f3a91c0"
    settings = Settings(home=tmp_path / "home", source={"access_token": secret})  # type: ignore[arg-type]  # pydantic makes the section
    runtime = Runtime(settings)
    result = create_backup(runtime.context, str(tmp_path / "backups"), NOW)
    assert "page_session" not in result.manifest.tables
    for path in (tmp_path / "backups").rglob("*"):
        assert path.is_dir() or secret.encode() not in path.read_bytes()
        assert path.stat().st_mode & 0o077 == 0 or "tables" in path.parts or path.name == "objects.jsonl.zst"


@pytest.mark.parametrize("data", [b"[]", b"{}", b'{"format": 1}', b"\xff"])
def test_a_broken_manifest_is_damage(data: bytes) -> None:
    """Whatever a manifest holds, reading it says that it cannot be read."""
    with pytest.raises(Corrupt, match="manifest"):
        Manifest.from_json(data)


@SQLITE_ONLY
def test_a_newer_format_and_a_foreign_path_are_refused(context: Context, tmp_path: Path) -> None:
    """A backup of a newer adwarm asks for an upgrade; a manifest cannot make a restore write elsewhere."""
    with pytest.raises(BadRequest, match="upgrade it"):
        Manifest.from_json(orjson.dumps({"format": 2}))
    made = create_backup(context, str(tmp_path / "backups"), NOW)
    path = tmp_path / "backups/backups" / made.name / "manifest.json"
    values = orjson.loads(path.read_bytes())
    folder = BackupFolder(str(tmp_path / "backups"))
    folder.write(made.name, "files/../evil", b"x")
    stored = folder.write(made.name, "evil", b"x")
    values["files"] = {"../evil": {"sha256": stored.sha256, "size": 1}}
    path.write_bytes(orjson.dumps(values))
    target = _empty(tmp_path)
    with pytest.raises(Corrupt, match="outside of the data folder"):
        restore_backup(target, str(tmp_path / "backups"))
