"""The unfinished files of killed writers are deleted, and nothing else."""

import os
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from adwarm.foundation.home import BODY_FOLDER, write_private_file
from adwarm.maintenance.garbage_collection import collect_garbage
from adwarm.maintenance.temporary_files import delete_stale_temporaries
from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore

NOW = datetime(2026, 11, 25, 12, tzinfo=UTC)


def _leave(folder: Path, name: str, monkeypatch: pytest.MonkeyPatch) -> Path:
    """Leave what a writer leaves that is killed before it renames its file."""
    folder.mkdir(parents=True, exist_ok=True)

    class Killed(BaseException):
        pass

    def die(*_arguments: object) -> None:
        raise Killed

    with monkeypatch.context() as patch:
        patch.setattr(Path, "replace", die)
        patch.setattr(Path, "unlink", lambda *_arguments, **_options: None)
        with pytest.raises(Killed):
            write_private_file(folder / name, b"part")
    (path,) = [found for found in folder.iterdir() if found.name.startswith(f".{name}.")]
    return path


def test_old_unfinished_files_of_every_writer_are_deleted(
    engine: Engine, objects: ObjectStore, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Those of objects, pages, the open log and bodies; a young one may still be written, and whole files stay."""
    data, home = Path(objects.url), tmp_path / "home"
    whole = objects.put(b"rows")
    folders = [data / "objects" / "ab", data / "reports", data / "opens" / "2026-11-25", home / BODY_FOLDER]
    names = ["ab" * 32 + ".parquet", "review-1.html", "host_1-101010-0-abc.parquet", "cd" * 32]
    old = [_leave(folder, name, monkeypatch) for folder, name in zip(folders, names, strict=True)]
    for path in old:
        os.utime(path, ((NOW - timedelta(hours=25)).timestamp(),) * 2)
    young = _leave(folders[0], "ef" * 32 + ".parquet", monkeypatch)
    (folders[1] / ".hidden").touch()
    context = Context(engine, objects, Settings(home=home))
    assert delete_stale_temporaries(context, NOW - timedelta(hours=48)) == 0
    assert collect_garbage(context, NOW).unfinished
    assert [path.exists() for path in old] == [False] * 4
    assert young.exists()
    assert (folders[1] / ".hidden").exists()
    assert objects.get(whole) == b"rows"


def test_a_store_behind_a_url_has_none(engine: Engine, tmp_path: Path) -> None:
    """Only the home is looked at."""
    context = Context(engine, ObjectStore("memory://adwarm-temporary"), Settings(home=tmp_path / "absent"))
    assert delete_stale_temporaries(context, NOW) == 0
