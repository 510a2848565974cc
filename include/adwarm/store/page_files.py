"""Pages and their JSON for humans: files with readable names in the folder `reports` beside the objects.

A name consists of a time and a fixed word, never of input. Writing a file again replaces it.
"""

import re
from pathlib import Path

from adwarm.foundation.errors import BadRequest
from adwarm.foundation.home import make_private_folder, write_private_file
from adwarm.foundation.remote_files import RemoteFolder
from adwarm.foundation.storage import DATA_SETTING, translating_storage_errors

_FOLDER = "reports"
_CONTENT_TYPES = {"html": "text/html; charset=utf-8", "json": "application/json"}
_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,80}\.(json|html)")


class PageFolder:
    """Writes and reads the pages of one data folder or URL."""

    def __init__(self, url: str) -> None:
        self._remote = RemoteFolder(url, DATA_SETTING) if "://" in url else None
        self._folder = Path(url) / _FOLDER

    def write(self, name: str, data: bytes) -> str:
        """Write a file and return its path or URL.

        Raises:
            StorageError: it cannot be written; the page of before stays.
        """
        _check(name)
        if self._remote is not None:
            self._remote.write(f"{_FOLDER}/{name}", data, _CONTENT_TYPES[name.rpartition(".")[2]])
            return self._remote.describe(f"{_FOLDER}/{name}")
        path = self._folder / name
        with translating_storage_errors(path, DATA_SETTING):
            make_private_folder(self._folder)
            write_private_file(path, data)
        return str(path)

    def read(self, name: str) -> bytes:
        """Return the bytes of a file.

        Raises:
            FileNotFoundError: there is none.
        """
        _check(name)
        if self._remote is not None:
            return self._remote.read(f"{_FOLDER}/{name}")
        return (self._folder / name).read_bytes()


def _check(name: str) -> None:
    if not _NAME.fullmatch(name):
        raise BadRequest(f"{name!r} is not a valid page name; use lower-case letters, digits and hyphens")
