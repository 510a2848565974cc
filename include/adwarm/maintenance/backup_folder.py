"""A folder or URL that holds backups: their manifests, tables and files, and the objects that they share.

    objects/ab/<hash>.parquet                     an object of any of the backups, as in the object store
    backups/20261126T201500123Z/manifest.json        written last: a backup without it is incomplete
    backups/20261126T201500123Z/tables/<name>.jsonl.zst
    backups/20261126T201500123Z/objects.jsonl.zst    the objects that it needs: hash and suffix
    backups/20261126T201500123Z/files/opens/...      the open log and the pages of reviews

An object that an earlier backup has stored is not copied again. The manifest holds the SHA-256 of every other file.
"""

import hashlib
import re
from collections.abc import Iterable, Iterator
from dataclasses import asdict, dataclass, field
from datetime import datetime
from pathlib import Path
from typing import Any

import orjson
import zstandard
from upath import UPath

from adwarm.foundation.clock import utc
from adwarm.foundation.errors import BadRequest, Corrupt, NotFound
from adwarm.foundation.home import make_private_folder, write_private_file
from adwarm.foundation.redaction import redact
from adwarm.foundation.storage_errors import translating_storage_errors
from adwarm.store import ObjectStore
from adwarm.store.table_dump import TableColumns

FORMAT = 1
"""Version of the layout and of the manifest."""
_MANIFEST = "manifest.json"
_NAME = re.compile(r"\d{8}T\d{6}(?:\d{3})?Z")
_WHERE = "the folder of the backups"
_READ_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class StoredFile:
    """A file of a backup.

    Attributes:
        sha256: of its bytes as stored.
        size: of these bytes.
    """

    sha256: str
    size: int


@dataclass(frozen=True, slots=True)
class StoredTable:
    """A table of a backup.

    Attributes:
        rows: how many it has.
        kinds: kind of each column, by name.
        file: its lines.
    """

    rows: int
    kinds: dict[str, str]
    file: StoredFile


@dataclass(frozen=True, slots=True, kw_only=True)
class Manifest:
    """What a backup holds.

    Attributes:
        at: when the tables were read, UTC.
        adwarm: version of the code.
        schema: revision of the database.
        dialect: kind of the database.
        tables: by name; one that others refer to comes before them.
        objects: the list of objects.
        object_count: how many objects the rows need.
        missing: hashes of objects that rows need and that the store did not have.
        files: further files, by their path below the data folder.
    """

    at: datetime
    adwarm: str
    schema: str
    dialect: str
    tables: dict[str, StoredTable]
    objects: StoredFile
    object_count: int
    missing: tuple[str, ...] = ()
    files: dict[str, StoredFile] = field(default_factory=dict)

    @property
    def rows(self) -> int:
        """Rows of all tables."""
        return sum(table.rows for table in self.tables.values())

    def to_json(self) -> bytes:
        """Return the manifest as it is stored."""
        return orjson.dumps({"format": FORMAT, **asdict(self)}, option=orjson.OPT_INDENT_2)

    @classmethod
    def from_json(cls, data: bytes) -> "Manifest":
        """Return a stored manifest.

        Raises:
            Corrupt: it cannot be read.
            BadRequest: a newer adwarm has written it.
        """
        try:
            values = orjson.loads(data)
            number = values.pop("format")
            if number != FORMAT:
                raise BadRequest(f"the backup has format {number}, this adwarm reads {FORMAT}; upgrade it")
            tables = {
                name: StoredTable(item["rows"], item["kinds"], StoredFile(**item["file"]))
                for name, item in values.pop("tables").items()
            }
            return cls(
                at=utc(datetime.fromisoformat(values.pop("at"))),
                tables=tables,
                objects=StoredFile(**values.pop("objects")),
                files={name: StoredFile(**item) for name, item in values.pop("files").items()},
                missing=tuple(values.pop("missing")),
                **values,
            )
        except (ValueError, KeyError, TypeError, AttributeError) as error:
            raise Corrupt(f"the manifest of the backup cannot be read ({type(error).__name__})") from None

    def columns(self, name: str) -> TableColumns:
        """Return the columns of a table."""
        return TableColumns(name, self.tables[name].kinds)


class BackupFolder:
    """The backups in one folder or URL.

    Args:
        target: a local path or any fsspec URL.
    """

    def __init__(self, target: str) -> None:
        self._root: Any = UPath(target) if "://" in target else Path(target).absolute()
        self.url = redact(str(self._root))
        self.objects = ObjectStore(str(self._root))

    def list_names(self) -> list[str]:
        """Return the names of all backups, oldest first, also of incomplete ones."""
        folder = self._root / "backups"
        with translating_storage_errors(folder, _WHERE):
            return (
                sorted(item.name for item in folder.iterdir() if _NAME.fullmatch(item.name)) if folder.exists() else []
            )

    def is_complete(self, name: str) -> bool:
        """Whether a backup was written to its end."""
        return bool((self._backup(name) / _MANIFEST).exists())

    def find_newest(self) -> str:
        """Return the newest complete backup.

        Raises:
            NotFound: there is none.
        """
        names = self.list_names()
        newest = next((name for name in reversed(names) if self.is_complete(name)), None)
        if newest is None:
            rest = f"; {', '.join(names)} were never completed" if names else ""
            raise NotFound(f"{self.url} holds no complete backup{rest}; `adwarm backup` makes one")
        return newest

    def create(self, at: datetime) -> str:
        """Create an empty backup and return its name."""
        name = f"{at:%Y%m%dT%H%M%S}{at.microsecond // 1000:03}Z"
        if name in self.list_names():
            raise BadRequest(f"{self.url} has a backup {name} already; wait a second")
        return name

    def read_manifest(self, name: str) -> Manifest:
        """Return the manifest of a backup.

        Raises:
            NotFound: there is no such backup, or it is incomplete.
            Corrupt: it cannot be read.
        """
        path = self._backup(name) / _MANIFEST
        try:
            return Manifest.from_json(path.read_bytes())
        except FileNotFoundError:
            raise NotFound(
                f"there is no complete backup {name} in {self.url}; `adwarm backup FOLDER --list` lists them"
            ) from None

    def write_manifest(self, name: str, manifest: Manifest) -> None:
        """Store the manifest, which completes the backup."""
        self.write(name, _MANIFEST, manifest.to_json())

    def write(self, name: str, path: str, data: bytes) -> StoredFile:
        """Store a file of a backup."""
        target = self._backup(name) / path
        with translating_storage_errors(target, _WHERE):
            if isinstance(target, UPath):
                target.parent.mkdir(parents=True, exist_ok=True)
                target.write_bytes(data)
            else:
                make_private_folder(target.parent)
                write_private_file(target, data, verify=True)
        return StoredFile(hashlib.sha256(data).hexdigest(), len(data))

    def write_lines(self, name: str, path: str, lines: Iterable[bytes]) -> tuple[StoredFile, int]:
        """Store lines compressed, and return the file and the number of lines."""
        target, count = self._backup(name) / path, 0
        digest, size = hashlib.sha256(), 0
        compressor = zstandard.ZstdCompressor(level=6).compressobj()
        with translating_storage_errors(target, _WHERE):
            if isinstance(target, UPath):
                target.parent.mkdir(parents=True, exist_ok=True)
            else:
                make_private_folder(target.parent)
            with target.open("wb") as file:
                for line in lines:
                    data = compressor.compress(line)
                    count += 1
                    if data:
                        digest.update(data)
                        size += file.write(data)
                data = compressor.flush()
                digest.update(data)
                size += file.write(data)
        return StoredFile(digest.hexdigest(), size), count

    def read(self, name: str, path: str, expected: StoredFile) -> bytes:
        """Return the bytes of a file.

        Raises:
            Corrupt: it is missing or was changed.
        """
        target = self._backup(name) / path
        try:
            with translating_storage_errors(target, _WHERE):
                data: bytes = target.read_bytes()
        except FileNotFoundError:
            raise Corrupt(f"the backup {name} lacks {path}; use another one") from None
        if hashlib.sha256(data).hexdigest() != expected.sha256:
            raise Corrupt(f"{path} of the backup {name} does not match its checksum; use another one")
        return data

    def check_file(self, name: str, path: str, expected: StoredFile) -> None:
        """Check the checksum of a file without holding it in memory.

        Raises:
            Corrupt: it is missing or was changed.
        """
        target, digest = self._backup(name) / path, hashlib.sha256()
        try:
            with translating_storage_errors(target, _WHERE), target.open("rb") as file:
                while data := file.read(_READ_BYTES):
                    digest.update(data)
        except FileNotFoundError:
            raise Corrupt(f"the backup {name} lacks {path}; use another one") from None
        if digest.hexdigest() != expected.sha256:
            raise Corrupt(f"{path} of the backup {name} does not match its checksum; use another one")

    def read_lines(self, name: str, path: str) -> Iterator[bytes]:
        """Yield the lines of a compressed file; check it first."""
        with (self._backup(name) / path).open("rb") as file:
            reader = zstandard.ZstdDecompressor().stream_reader(file)
            rest = b""
            while data := reader.read(_READ_BYTES):
                *lines, rest = (rest + data).split(b"\n")
                yield from lines
            if rest:
                yield rest

    def delete(self, name: str) -> None:
        """Delete a backup, its manifest first; its objects stay."""
        folder = self._backup(name)
        (folder / _MANIFEST).unlink(missing_ok=True)
        with translating_storage_errors(folder, _WHERE):
            for path in sorted(folder.rglob("*"), key=lambda item: len(str(item)), reverse=True):
                if path.is_dir():
                    path.rmdir()
                else:
                    path.unlink(missing_ok=True)
            if folder.exists():
                folder.rmdir()

    def _backup(self, name: str) -> Any:
        if not _NAME.fullmatch(name):
            raise BadRequest(f"{name[:40]!r} is no name of a backup, such as 20261126T201500123Z")
        return self._root / "backups" / name
