"""Compresses files where they lie: `a.json` becomes `a.json.zst`, in the codec's own standard format.

A file is removed only after its compressed sibling has been written to disk, read back, decoded and found equal, and
only while the file is still the one that was read. Files that do not shrink stay as they are, and so does everything
that fails; the report says which and why. Running it again changes nothing.
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
    """What happened to the files.

    Attributes:
        compressed: the new files, in order.
        skipped: files left alone, with the reason.
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
        """Return the report as JSON-ready values."""
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

    Raises:
        NotFound: there is nothing at `path`.
        BadRequest: the settings' codec makes no file format.
    """
    root = Path(path)
    if not root.exists():
        raise NotFound(f"there is no file or folder at {str(path)!r}")
    codec = parse_codec(settings.codec)
    if codec not in SUFFIXES:
        raise BadRequest(f"files cannot be compressed by {codec!r}; choose one of {', '.join(SUFFIXES)}")
    report = FileCompressionResult()
    for file in _matching(root, include, exclude):
        try:
            _compress(file, codec, settings, report)
        except (OSError, AdwarmError) as error:
            report.failed[str(file)] = str(error)
    return report


def _matching(root: Path, include: Sequence[str], exclude: Sequence[str]) -> Iterator[Path]:
    if not root.is_dir():
        yield root
        return
    for file in sorted(root.rglob("*")):
        wanted = any(fnmatch(file.name, pattern) for pattern in include)
        refused = any(fnmatch(file.name, pattern) for pattern in exclude)
        if wanted and not refused and file.is_file() and not file.is_symlink():
            yield file


def _compress(file: Path, codec: Codec, settings: CompressionSettings, report: FileCompressionResult) -> None:
    before, target = file.stat(), Path(f"{file}{SUFFIXES[codec]}")
    reason = _reason_to_skip(file, before.st_size, target, settings)
    if reason:
        report.skipped[str(file)] = reason
        return
    raw = file.read_bytes()
    body = encode(raw, codec, settings)
    if len(body) >= len(raw):
        report.skipped[str(file)] = "it does not shrink"
        return
    _write_verified(target, body, raw, codec, before)
    after = file.stat()
    if (after.st_mtime_ns, after.st_size, after.st_ino) != (before.st_mtime_ns, before.st_size, before.st_ino):
        target.unlink()
        raise Corrupt("it changed while it was compressed; it was left as it is")
    file.unlink()
    report.compressed.append(str(target))
    report.raw_bytes += len(raw)
    report.stored_bytes += len(body)


def _reason_to_skip(file: Path, size: int, target: Path, settings: CompressionSettings) -> str | None:
    if file.suffix in SUFFIXES.values():
        return "it is compressed already"
    if size < settings.threshold_bytes:
        return f"it is smaller than {settings.threshold_bytes} bytes"
    if size > settings.max_decoded_bytes:
        return f"it is larger than {settings.max_decoded_bytes} bytes"
    return f"{target.name} is there already" if target.exists() else None


def _write_verified(target: Path, body: bytes, raw: bytes, codec: Codec, like: os.stat_result) -> None:
    """Publish `body` as `target`, with the mode and times of the original, once it is proven to give back `raw`."""
    handle, name = tempfile.mkstemp(dir=target.parent, prefix=f".{target.name}.")
    draft = Path(name)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(body)
            stream.flush()
            os.fsync(stream.fileno())
        if decode(draft.read_bytes(), codec, len(raw)) != raw:
            raise Corrupt("what was written does not give back the file; it was left as it is")
        draft.chmod(like.st_mode & 0o7777)
        os.utime(draft, ns=(like.st_atime_ns, like.st_mtime_ns))
        draft.replace(target)
    except BaseException:
        draft.unlink(missing_ok=True)
        raise
