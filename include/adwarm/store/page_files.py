"""Pages and their JSON for humans: files with readable names in the folder `reports` beside the objects.

A name consists of a time and a fixed word, never of input. Writing a file again replaces it.
"""

import os
import re
from pathlib import Path
from typing import Any

from upath import UPath

from adwarm.foundation.errors import BadRequest

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,80}\.(json|html)")


class PageFolder:
    """Writes and reads the pages of one data folder or URL."""

    def __init__(self, url: str) -> None:
        root: Any = UPath(url) if "://" in url else Path(url)
        self._folder = root / "reports"

    def write(self, name: str, data: bytes) -> str:
        """Write a file and return its path or URL."""
        path = self._path(name)
        self._folder.mkdir(parents=True, exist_ok=True)
        if "://" in str(path):
            path.write_bytes(data)
        else:
            temporary = path.with_name(f".{name}.{os.getpid()}")
            temporary.write_bytes(data)
            temporary.replace(path)
        return str(path)

    def read(self, name: str) -> bytes:
        """Return the bytes of a file."""
        data: bytes = self._path(name).read_bytes()
        return data

    def _path(self, name: str) -> Any:
        if not _NAME.fullmatch(name):
            raise BadRequest(f"{name!r} is not a valid page name; use lower-case letters, digits and hyphens")
        return self._folder / name
