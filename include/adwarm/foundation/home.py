"""Where adwarm keeps its database and objects when nothing else is configured, and its private files."""

import errno
import os
import re
import secrets
import shutil
from collections.abc import Mapping
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from platformdirs import user_data_path

BODY_FOLDER = "serve-cache"
"""Folder in the home where the read API keeps response bodies."""
_TEMPORARY = re.compile(r"\..+\.[0-9]{1,10}\.[0-9a-f]{8}")


@dataclass(frozen=True)
class HomeChoice:
    """The home of a process: its folder, the rule that chose it, and whether it depends on the working folder."""

    path: Path
    rule: str
    is_relative: bool


def choose_home(environment: Mapping[str, str], configured: str | None = None) -> HomeChoice:
    """Return the home of a process.

    `ADWARM_HOME`, else `configured`, else the folder `adwarm` in `AIRFLOW_HOME`, so that Airflow's processes and the
    commands beside them share one home, else the user's data folder.

    Args:
        environment: variables of the process; the case of `ADWARM_HOME` does not matter.
    """
    named = next((value for name, value in environment.items() if name.upper() == "ADWARM_HOME" and value), None)
    airflow_home = environment.get("AIRFLOW_HOME")
    if named or configured:
        rule, path = ("ADWARM_HOME", named) if named else ("the file in ADWARM_CONFIG", str(configured))
        return HomeChoice(absolute_path(path), f"set by {rule}", _is_relative(path))
    if airflow_home:  # read as Airflow reads it
        path = os.path.expandvars(airflow_home)
        return HomeChoice(absolute_path(path) / "adwarm", "in AIRFLOW_HOME", _is_relative(path))
    return HomeChoice(user_data_path("adwarm", appauthor=False).absolute(), "in the user's data folder", False)


def make_private_folder(folder: Path) -> None:
    """Create `folder` and its missing parents for this user alone; what exists keeps its rights.

    Raises:
        OSError: it cannot be created.
    """
    if not folder.is_dir():
        for path in [*reversed(folder.parents), folder]:
            path.mkdir(mode=0o700, exist_ok=True)


def write_private_file(path: Path, data: bytes, *, verify: bool = False) -> os.stat_result:
    """Write a file for this user alone that others see whole or not at all; one of this name is replaced.

    A folder of this name is deleted with its content. A writer that is killed leaves a file that `is_temporary` names.

    Args:
        path: the file; its folder has to exist.
        verify: whether it is put on disk and read back before it gets its name.

    Returns:
        The status of the file.

    Raises:
        OSError: it cannot be written; nothing is left.
    """
    temporary = path.with_name(f".{path.name}.{os.getpid()}.{secrets.token_hex(4)}")
    try:
        handle = os.open(temporary, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
        with os.fdopen(handle, "w+b") as file:
            file.write(data)
            file.flush()
            if verify:
                os.fsync(file.fileno())
                file.seek(0)
                if file.read() != data:
                    raise OSError(errno.EIO, "what was written reads back differently")
            status = os.fstat(file.fileno())
        if path.is_dir():  # a file cannot replace it
            shutil.rmtree(path)
        temporary.replace(path)
        return status
    finally:
        temporary.unlink(missing_ok=True)


def is_temporary(name: str) -> bool:
    """Whether a file has the name of one that `write_private_file` has not finished."""
    return _TEMPORARY.fullmatch(name) is not None


def absolute_path(path: str | Path) -> Path:
    """Return `path` with `~` expanded, made absolute by the working folder; links are kept."""
    expanded = Path(path)
    with suppress(RuntimeError):  # the user has no home folder
        expanded = expanded.expanduser()
    return expanded.absolute()


def _is_relative(path: str) -> bool:
    return not path.startswith("~") and not Path(path).is_absolute()
