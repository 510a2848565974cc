"""Compresses files in place: `a.json` becomes `a.json.zst`, in the codec's standard file format.

A file is deleted only after its compressed copy was written to disk, read back, decoded and compared, and only while
the file is still the one that was read. Files that do not shrink or that fail stay as they are; the result says which
and why. Running it again changes nothing.
"""

import os
import tempfile
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from fnmatch import fnmatch
from pathlib import Path
from typing import Any, Final

from adwarm.compression.codecs import decode, encode
from adwarm.compression.envelope import Codec, parse_codec
from adwarm.foundation.errors import AdwarmError, BadRequest, Corrupt, NotFound
from adwarm.settings import CompressionSettings

SUFFIXES: Final[dict[Codec, str]] = {"zstd": ".zst", "gzip": ".gz", "brotli": ".br"}


@dataclass(slots=True)
class FileCompressionResult:
    """The result for each file.

    Attributes:
        compressed: the new files, in order.
        skipped: files left as they are, with the reason.
        failed: files that could not be compressed, with the reason.
        raw_bytes: size of the compressed files before.
        stored_bytes: size of the compressed files after.
    """

    compressed: list[str] = field(default_factory=list)
    skipped: dict[str, str] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    raw_bytes: int = 0
    stored_bytes: int = 0

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "compressed": self.compressed,
            "skipped": self.skipped,
            "failed": self.failed,
            "raw_bytes": self.raw_bytes,
            "stored_bytes": self.stored_bytes,
        }


def compress_path(
    path: str | Path,
    settings: CompressionSettings,
    include: Sequence[str] = ("*.json", "*.txt"),
    exclude: Sequence[str] = (),
) -> FileCompressionResult:
    """Compress a file, or the files under a folder whose name matches `include` and not `exclude`.

    A single file is compressed whatever its name. Symbolic links are not followed.

    Args:
        path: the file or folder.
        settings: codec, levels and limits.
        include: patterns of file names in a folder.
        exclude: patterns of file names to leave out.

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
            _compress(file, codec, settings, result)
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


def _compress(file: Path, codec: Codec, settings: CompressionSettings, result: FileCompressionResult) -> None:
    before, target = file.stat(), Path(f"{file}{SUFFIXES[codec]}")
    reason = _reason_to_skip(file, before.st_size, target, settings)
    if reason:
        result.skipped[str(file)] = reason
        return
    raw = file.read_bytes()
    body = encode(raw, codec, settings)
    if len(body) >= len(raw):
        result.skipped[str(file)] = "it does not shrink"
        return
    _write_verified(target, body, raw, codec, before)
    after = file.stat()
    if (after.st_mtime_ns, after.st_size, after.st_ino) != (before.st_mtime_ns, before.st_size, before.st_ino):
        target.unlink()
        raise Corrupt("it changed while it was compressed; it stays as it is")
    file.unlink()
    result.compressed.append(str(target))
    result.raw_bytes += len(raw)
    result.stored_bytes += len(body)


def _reason_to_skip(file: Path, size: int, target: Path, settings: CompressionSettings) -> str | None:
    if file.suffix in SUFFIXES.values():
        return "it is already compressed"
    if size < settings.threshold_bytes:
        return f"it is smaller than {settings.threshold_bytes} bytes"
    if size > settings.max_decoded_bytes:
        return f"it is larger than {settings.max_decoded_bytes} bytes"
    return f"{target.name} already exists" if target.exists() else None


def _write_verified(target: Path, body: bytes, raw: bytes, codec: Codec, like: os.stat_result) -> None:
    """Write `body` to `target` with the mode and times of `like`, after checking that it decodes to `raw`."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    draft = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(body)
            stream.flush()
            os.fsync(stream.fileno())
        if decode(draft.read_bytes(), codec, len(raw)) != raw:
            raise Corrupt("the compressed copy does not decode to the file; it stays as it is")
        draft.chmod(like.st_mode & 0o7777)
        os.utime(draft, ns=(like.st_atime_ns, like.st_mtime_ns))
        draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
