"""Writes a compressed copy beside each file: `a.json.zst` beside `a.json`, in the codec's standard file format.

The original stays unless the caller asks to delete it. It is deleted only after its compressed copy was written to
disk, read back, decoded and compared, and only while it is still the file that was read. A file that has the name of
the copy is never replaced: when it decodes to the original, the original counts as compressed already, otherwise it
fails. Files that do not shrink or that fail stay as they are; the result says which and why.
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

from adwarm.compression.choice import decode_counted, encode_if_smaller
from adwarm.compression.envelope import Codec, parse_codec
from adwarm.foundation.errors import AdwarmError, BadRequest, Corrupt, NotFound
from adwarm.settings import CompressionSettings

SUFFIXES: Final[dict[Codec, str]] = {"zstd": ".zst", "gzip": ".gz", "brotli": ".br"}


@dataclass(frozen=True, slots=True)
class WrittenFile:
    """A compressed copy.

    Attributes:
        path: the copy.
    """

    path: str
    raw_bytes: int
    stored_bytes: int
    is_original_deleted: bool

    def __str__(self) -> str:
        ratio = self.stored_bytes / self.raw_bytes if self.raw_bytes else 1.0
        original = "deleted" if self.is_original_deleted else "kept"
        sizes = f"{self.raw_bytes:,} bytes became {self.stored_bytes:,} ({ratio:.0%})"
        return f"wrote {self.path}: {sizes}; the original is {original}"


@dataclass(slots=True)
class FileCompressionResult:
    """The result for each file.

    Attributes:
        skipped: files without a new copy, with the reason.
        failed: files that could not be compressed, with the reason.
    """

    written: list[WrittenFile] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)

    @property
    def raw_bytes(self) -> int:
        """Size of the originals of the copies."""
        return sum(file.raw_bytes for file in self.written)

    @property
    def stored_bytes(self) -> int:
        """Size of the copies."""
        return sum(file.stored_bytes for file in self.written)

    def to_dict(self) -> dict[str, Any]:
        """Return counts and sizes; small enough for an XCom."""
        return {
            "written": len(self.written),
            "skipped": len(self.skipped),
            "failed": len(self.failed),
            "raw_bytes": self.raw_bytes,
            "stored_bytes": self.stored_bytes,
        }

    def __str__(self) -> str:
        sizes = f"{self.raw_bytes:,} bytes became {self.stored_bytes:,}"
        return f"{len(self.written):,} written ({sizes}), {len(self.skipped):,} skipped, {len(self.failed):,} failed"


def compress_path(
    path: str | Path,
    settings: CompressionSettings,
    include: Sequence[str] = ("*.json", "*.txt"),
    exclude: Sequence[str] = (),
    *,
    keep_original: bool = True,
) -> FileCompressionResult:
    """Compress a file, or the files under a folder whose name matches `include` and not `exclude`.

    A single file is compressed whatever its name. Symbolic links are not followed.

    Args:
        include: patterns of file names in a folder.
        keep_original: whether the originals stay beside their copies.

    Raises:
        NotFound: there is nothing at `path`.
        BadRequest: the settings' codec has no file format.
    """
    root = Path(path)
    if not root.exists():
        raise NotFound(f"there is no file or folder at {str(path)!r}")
    codec = parse_codec(settings.codec)
    if codec not in SUFFIXES:
        raise BadRequest(f"files cannot be compressed by {codec!r}; choose one of {', '.join(SUFFIXES)}")
    result = FileCompressionResult()
    for file in _matching(root, include, exclude):
        try:
            _compress(file, codec, settings, result, keep_original=keep_original)
        except (OSError, AdwarmError) as error:
            result.failed[str(file)] = str(error)
    return result


def _matching(root: Path, include: Sequence[str], exclude: Sequence[str]) -> Iterator[Path]:
    if not root.is_dir():
        yield root
        return
    for file in sorted(root.rglob("*")):
        is_included = any(fnmatch(file.name, pattern) for pattern in include)
        is_excluded = any(fnmatch(file.name, pattern) for pattern in exclude)
        if is_included and not is_excluded and file.is_file() and not file.is_symlink():
            yield file


def _compress(
    file: Path, codec: Codec, settings: CompressionSettings, result: FileCompressionResult, *, keep_original: bool
) -> None:
    before, target = file.stat(), Path(f"{file}{SUFFIXES[codec]}")
    reason = _reason_to_skip(file, before.st_size, settings)
    if reason:
        result.skipped[str(file)] = reason
        return
    raw = file.read_bytes()
    if target.exists():
        _check_copy(target, raw, codec)
        if keep_original:
            result.skipped[str(file)] = f"{target.name} holds it already"
            return
    else:
        used, body = encode_if_smaller(raw, codec, settings)
        if used != codec:
            result.skipped[str(file)] = "it does not shrink"
            return
        _write_verified(target, body, raw, codec, before)
        if _has_changed(file, before):
            target.unlink()
            raise Corrupt("it changed while it was compressed; it stays as it is")
    if not keep_original:
        if _has_changed(file, before):
            raise Corrupt("it changed while its copy was compared; it stays as it is")
        file.unlink()
    result.written.append(WrittenFile(str(target), len(raw), target.stat().st_size, not keep_original))


def _check_copy(target: Path, raw: bytes, codec: Codec) -> None:
    """Check that an existing copy decodes to the original."""
    try:
        is_same = decode_counted(target.read_bytes(), codec, len(raw)) == raw
    except AdwarmError:
        is_same = False
    if not is_same:
        raise Corrupt(f"{target.name} exists and holds something else; both stay as they are, move one away")


def _has_changed(file: Path, before: os.stat_result) -> bool:
    after = file.stat()
    return (after.st_mtime_ns, after.st_size, after.st_ino) != (before.st_mtime_ns, before.st_size, before.st_ino)


def _reason_to_skip(file: Path, size: int, settings: CompressionSettings) -> str | None:
    if file.suffix in SUFFIXES.values():
        return "it is already compressed"
    if size < settings.threshold_bytes:
        return f"it is smaller than {settings.threshold_bytes} bytes"
    if size > settings.max_decoded_bytes:
        return f"it is larger than {settings.max_decoded_bytes} bytes"
    return None


def _write_verified(target: Path, body: bytes, raw: bytes, codec: Codec, like: os.stat_result) -> None:
    """Write `body` to `target` with the mode and times of `like`, after checking that it decodes to `raw`."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    draft = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(body)
            stream.flush()
            os.fsync(stream.fileno())
        if decode_counted(draft.read_bytes(), codec, len(raw)) != raw:
            raise Corrupt("the compressed copy does not decode to the file; it stays as it is")
        draft.chmod(like.st_mode & 0o7777)
        os.utime(draft, ns=(like.st_atime_ns, like.st_mtime_ns))
        draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
