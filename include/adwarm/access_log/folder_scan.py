"""Looks through local folders for files of a log; a symlink that leads out of the folder is named and not followed."""

import os
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from adwarm.access_log.file_errors import describe_error, is_file_error

NameFilter = Callable[[str], bool]
"""Whether a file of that name is meant."""

_is_link = os.path.islink  # unlike the method of a path, it does not raise where a folder is closed


@dataclass(frozen=True, slots=True)
class FileCandidate:
    """A file that may be read, or what speaks against it."""

    path: Any
    problem: str = ""
    reason: str = "unreadable"


def scan_folder(folder: Path, name_filter: NameFilter) -> Iterator[FileCandidate]:
    """Yield the files below `folder`, what cannot be looked into, and what leads out of it."""
    root = Path(os.path.realpath(folder))
    closed: list[OSError] = []
    for place, folders, names in os.walk(folder, onerror=closed.append):
        # A folder that is linked to from within is found where it lies; one outside is to be named.
        linked = [name for name in folders if _is_link(Path(place, name))]
        for name in (*linked, *filter(name_filter, names)):
            yield from _inspect(Path(place, name), root)
    for error in closed:
        if not is_file_error(error):
            raise error
        yield FileCandidate(Path(str(error.filename)), describe_error(error))


def scan_glob(folder: Path, pattern: str, name_filter: NameFilter) -> Iterator[FileCandidate]:
    """Yield the files below `folder` that a glob means, and those of them that lead out of it."""
    root = Path(os.path.realpath(folder))
    for path in folder.glob(pattern):
        if name_filter(path.name):
            yield from _inspect(path, root)


def unique_files(candidates: Iterable[FileCandidate]) -> Iterator[FileCandidate]:
    """Yield each local file once: one that a symlink leads to is read where it lies."""
    seen: set[str] = set()
    for item in sorted(candidates, key=lambda item: (_is_link(item.path), str(item.path))):
        real = os.path.realpath(item.path)
        if item.problem or real not in seen:
            yield item
        seen.add(real)


def _inspect(path: Path, root: Path) -> Iterator[FileCandidate]:
    """Yield the file, or what is wrong with it; nothing when it is none, or gone."""
    real = Path(os.path.realpath(path))
    if not real.is_relative_to(root):
        yield FileCandidate(
            path, f"it is a symlink to {real}, outside the folder of the log, and is not followed", "symlink"
        )
        return
    try:
        if path.is_file():
            yield FileCandidate(path)
    except OSError as error:
        if not is_file_error(error):
            raise
        yield FileCandidate(path, describe_error(error))
