"""Full and read-only disks, by real mounts: a clear error, nothing partial, and green after the repair."""

import multiprocessing
import os
import subprocess
from collections.abc import Callable, Iterator
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import pytest

from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.errors import AdwarmError, StorageError
from adwarm.maintenance.integrity import verify_store
from adwarm.model import Priority, ReportKey
from adwarm.prefetch import KeyRequest
from adwarm.runtime import Runtime
from adwarm.serving import ReadStatus
from adwarm.settings import CompressionSettings, Settings
from adwarm.store import entries
from tests.unit.conftest import NOW, ScriptedSource

MIB = 1 << 20
KEYS = [ReportKey(f"act_{number}", "last_7d") for number in range(1, 5)]
Mount = Callable[[str, int], Path]


def _run(*words: str) -> None:
    subprocess.run(words, check=True, capture_output=True, timeout=30)


@pytest.fixture
def mount(tmp_path: Path) -> Iterator[Mount]:
    """Mounts a small disk of memory under a name; all are unmounted at the end."""
    mounted: list[Path] = []

    def make(name: str, size: int) -> Path:
        folder = tmp_path / name
        folder.mkdir()
        try:
            _run("mount", "-t", "tmpfs", "-o", f"size={size},mode=0700", "tmpfs", str(folder))
        except (OSError, subprocess.CalledProcessError) as error:
            pytest.skip(f"a disk cannot be mounted here ({type(error).__name__}); run this test as root")
        mounted.append(folder)
        return folder

    if os.geteuid() != 0:
        pytest.skip("only root can mount a disk")
    yield make
    for folder in mounted:
        _run("umount", "--lazy", str(folder))


def _remount(folder: Path, options: str) -> None:
    _run("mount", "-o", f"remount,{options}", str(folder))


def _fill(folder: Path) -> Path:
    """Use up the disk but for some bytes, and return the file that does."""
    filler = folder / "filler"
    handle = os.open(filler, os.O_WRONLY | os.O_CREAT)
    try:
        while True:
            os.write(handle, b"\0" * 4096)
    except OSError:
        return filler
    finally:
        os.close(handle)


def _runtime(home: Path, data: Path | None = None) -> Runtime:
    plain = CompressionSettings(codec="identity")
    settings = Settings(home=home, data_url=None if data is None else str(data), workers=1, compression=plain)
    return Runtime(settings, VirtualClock(NOW), make_source=ScriptedSource)


def _warm(runtime: Runtime, *keys: ReportKey) -> list[str | None]:
    """Fetch keys, and return why each failed."""
    result = runtime.prefetch_engine().run([KeyRequest(key) for key in keys], Priority.LOW)
    return [outcome.reason for outcome in result.outcomes if outcome.reason]


def _list_files(folder: Path) -> list[str]:
    return sorted(path.name for path in folder.rglob("*") if path.is_file() and path.name != "filler")


def _statuses(runtime: Runtime) -> list[str]:
    return [str(runtime.reader.read(key).status) for key in KEYS]


@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_the_disk_of_the_objects(mount: Mount, tmp_path: Path, fault: str) -> None:
    """What was stored stays readable, what is fetched is not stored in part, and the error says what to do."""
    data = mount("data", 2 * MIB)
    runtime = _runtime(tmp_path / "home", data)
    assert _warm(runtime, KEYS[0]) == []
    before = _list_files(data)
    filler = _fill(data) if fault == "full" else None
    if fault == "read-only":
        _remount(data, "ro")
    reasons = _warm(runtime, *KEYS[1:])
    assert len(reasons) == len(KEYS) - 1
    for reason in reasons:
        assert "ADWARM_DATA_URL" in str(reason)
        assert str(data) in str(reason)
        assert "free" in str(reason)
        assert "Errno" not in str(reason)
    assert _list_files(data) == before
    assert _statuses(runtime) == [ReadStatus.HIT, *[ReadStatus.MISS] * 3]
    assert verify_store(runtime.context).problems == []
    with pytest.raises(StorageError, match="ADWARM_DATA_URL"):
        runtime.objects.check()
    if filler is not None:
        filler.unlink()
    else:
        _remount(data, "rw")
    assert _warm(runtime, *KEYS) == []
    assert _statuses(runtime) == [ReadStatus.HIT] * 4
    assert verify_store(runtime.context).problems == []


def test_the_full_disk_of_the_database(mount: Mount, tmp_path: Path) -> None:
    """Nothing is committed in part, readers are answered, and the error names setting, path and free space."""
    home = mount("home", 4 * MIB)
    runtime = _runtime(home, tmp_path / "data")
    assert _warm(runtime, KEYS[0]) == []
    filler = _fill(home)
    errors = []
    for key in [ReportKey(f"act_{number}", "last_90d") for number in range(10, 40)]:
        try:
            errors += [reason for reason in _warm(runtime, key) if reason]
        except AdwarmError as error:
            errors.append(str(error))
    assert errors
    for text in errors:
        assert "sqlite3" not in text
        assert "Errno" not in text
    assert any("ADWARM_DATABASE_URL" in text and str(home) in text and "free" in text for text in errors)
    assert runtime.reader.read(KEYS[0]).status is ReadStatus.HIT
    filler.unlink()
    assert verify_store(runtime.context).problems == []
    assert _warm(runtime, *KEYS) == []
    assert _statuses(runtime) == [ReadStatus.HIT] * 4
    assert verify_store(runtime.context).problems == []


def _in_process(work: Callable[[Path, Path], list[str]], home: Path, data: Path) -> list[str]:
    """Return the result of a process of its own, whose files are closed with it: a disk with open ones stays as it is.

    It is forked from a clean process, since threads of this one may hold locks.
    """
    with ProcessPoolExecutor(1, multiprocessing.get_context("forkserver")) as pool:
        return pool.submit(work, home, data).result(timeout=120)


def _warm_first(home: Path, data: Path) -> list[str]:
    return [str(reason) for reason in _warm(_runtime(home, data), KEYS[0])]


def _try_second(home: Path, data: Path) -> list[str]:
    try:
        return [str(reason) for reason in _warm(_runtime(home, data), KEYS[1])]
    except StorageError as error:
        return [f"{type(error).__name__}: {error}"]


def _warm_all(home: Path, data: Path) -> list[str]:
    runtime = _runtime(home, data)
    reasons = [str(reason) for reason in _warm(runtime, *KEYS)]
    count = len(entries.list_entries(runtime.engine))
    return [
        *reasons,
        *_statuses(runtime),
        f"{count} entries",
        f"{len(verify_store(runtime.context).problems)} problems",
    ]


@pytest.mark.slow
def test_the_read_only_disk_of_the_database(mount: Mount, tmp_path: Path) -> None:
    """A process says which setting names the path, stores nothing in part, and works once the disk is writable."""
    home, data = mount("home", 8 * MIB), tmp_path / "data"
    assert _in_process(_warm_first, home, data) == []
    _remount(home, "ro")
    (text,) = _in_process(_try_second, home, data)
    assert "ADWARM_DATABASE_URL" in text
    assert str(home) in text
    assert "free" in text
    _remount(home, "rw")
    assert _in_process(_warm_all, home, data) == [*["hit"] * 4, "4 entries", "0 problems"]


@pytest.mark.parametrize("fault", ["full", "read-only"])
def test_the_doctor_sees_it(mount: Mount, tmp_path: Path, fault: str) -> None:
    """The check of the disk fails, and says what is wrong with which path."""
    from adwarm.cli.doctor_checks import check_disk, list_disks

    data = mount("data", 200 * MIB)
    runtime = _runtime(tmp_path / "home", data)
    path, setting = list_disks(runtime)["disk of the objects"]
    detail, is_low = check_disk(path, setting)
    assert is_low
    assert "200 MB free" in detail or "210 MB free" in detail
    if fault == "full":
        (data / "filler").write_bytes(b"\0" * 150 * MIB)
    else:
        _remount(data, "ro")
    with pytest.raises(StorageError, match="is full" if fault == "full" else "read-only"):
        check_disk(path, setting)
