"""Cuts a byte stream into blocks of whole lines, with the offset of each, in bounded memory."""

import gzip
import zlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO

import numpy as np
import numpy.typing as npt

RejectAt = Callable[[str, int, bytes], None]
"""Told the reason, the offset of the line and how the line begins."""

BLOCK_BYTES = 1 << 20


@dataclass(frozen=True, slots=True)
class LineBlock:
    """Some lines that follow each other, without their ends.

    Attributes:
        end: offset where the next block starts; at a last line that has no end yet, the start of that line, so that
            it is read again when it is complete.
        offsets: of each line.
    """

    start: int
    end: int
    lines: list[bytes]
    offsets: npt.NDArray[np.int64]


def line_blocks(
    stream: IO[bytes], reject: RejectAt, *, start: int = 0, stop: int | None = None, max_line: int = 65_536
) -> Iterator[LineBlock]:
    """Yield the lines of `stream`, which stands at `start`, up to the offset `stop`."""
    position, rest, skipping = start, b"", False
    while chunk := _read(stream, BLOCK_BYTES if stop is None else stop - position - len(rest), position, reject):
        if skipping:
            cut = chunk.find(b"\n") + 1
            position += cut or len(chunk)
            chunk, skipping = chunk[cut:] if cut else b"", not cut
        data = rest + chunk
        cut = data.rfind(b"\n") + 1
        if cut:
            yield _block(data[:cut], position, position + cut, max_line, reject)
            position += cut
        rest = data[cut:]
        if len(rest) > max_line:
            reject("too_long", position, rest[:512])
            position, rest, skipping = position + len(rest), b"", True
    if rest:
        yield _block(rest, position, position, max_line, reject)


def _read(stream: IO[bytes], size: int, position: int, reject: RejectAt) -> bytes:
    try:
        return stream.read(min(size, BLOCK_BYTES)) if size > 0 else b""
    except (EOFError, zlib.error, gzip.BadGzipFile):
        reject("truncated", position, b"")
        return b""


def _block(data: bytes, start: int, end: int, max_line: int, reject: RejectAt) -> LineBlock:
    lines = data.split(b"\n")
    if not lines[-1]:
        lines.pop()
    sizes = np.fromiter(map(len, lines), np.int64, len(lines))
    offsets = start + np.concatenate([np.zeros(1, np.int64), np.cumsum(sizes + 1)[:-1]])
    kept = (sizes > 0) & (sizes <= max_line)
    if not kept.all():
        for index in np.flatnonzero(sizes > max_line).tolist():
            reject("too_long", int(offsets[index]), lines[index][:512])
        lines, offsets = [line for line, keep in zip(lines, kept.tolist(), strict=True) if keep], offsets[kept]
    return LineBlock(start, end, lines, offsets)
