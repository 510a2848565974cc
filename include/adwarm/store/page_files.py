"""Pages and their JSON for humans: files with readable names in the folder `reports` beside the objects.

A name consists of a time and a fixed word, never of input. Writing a file again replaces it.
"""

import re
from pathlib import Path
from typing import Any

from upath import UPath

from adwarm.foundation.errors import BadRequest
from adwarm.foundation.home import make_private_folder, write_private_file
from adwarm.foundation.storage_errors import DATA_SETTING, translating_storage_errors

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,80}\.(json|html)")


class PageFolder:
    """Writes and reads the pages of one data folder or URL."""

    def __init__(self, url: str) -> None:
        root: Any = UPath(url) if "://" in url else Path(url)
        self._folder = root / "reports"

    def write(self, name: str, data: bytes) -> str:
        """Write a file and return its path or URL.

        Raises:
            StorageError: it cannot be written; the page of before stays.
        """
        path = self._path(name)
        with translating_storage_errors(path, DATA_SETTING):
            if "://" in str(path):
                self._folder.mkdir(parents=True, exist_ok=True)
                path.write_bytes(data)
            else:
                make_private_folder(self._folder)
                write_private_file(path, data)
        return str(path)

    def read(self, name: str) -> bytes:
        """Return the bytes of a file."""
        data: bytes = self._path(name).read_bytes()
        return data

    def _path(self, name: str) -> Any:
        if not _NAME.fullmatch(name):
            raise BadRequest(f"{name!r} is not a valid page name; use lower-case letters, digits and hyphens")
        return self._folder / name
