"""Reads a byte stream in blocks of whole lines with their offsets, in bounded memory, and finds where to resume one.

The log need not be in order. An entry (hour, offset) states that all events before `offset` are of earlier hours; it is
added when a block of lines contains a later hour than any block before it.
"""

import gzip
import zlib
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property
from typing import IO

import numpy as np

from adwarm.access_log.timestamps import HOUR
from adwarm.foundation.arrow_arrays import Ints

RejectAt = Callable[[str, int, bytes], None]
"""Called with the reason, the offset of the line and the beginning of the line."""

BLOCK_BYTES = 1 << 20
MAX_LINE_BYTES = 65_536
"""Longer lines are quarantined: an open is some hundred bytes, and a line has to fit into memory."""


@dataclass(frozen=True)
class LineBlock:
    """Consecutive lines.

    Attributes:
        end: offset where the next block starts; after a last line without a line end, the start of that line, so that
            it is read again when it is complete.
        text: the lines, joined by line ends.
        offsets: the offset of each line.
        ends: where each line ends in `text`.
    """

    start: int
    end: int
    text: bytes
    offsets: Ints
    ends: Ints

    @cached_property
    def lines(self) -> list[bytes]:
        """The lines without their line ends; a parser that takes the text saves the time to split it."""
        return self.text.split(b"\n") if len(self.offsets) else []


def line_blocks(
    stream: IO[bytes], reject: RejectAt, *, start: int = 0, stop: int | None = None, max_line: int = MAX_LINE_BYTES
) -> Iterator[LineBlock]:
    """Yield the lines of `stream`, which is positioned at `start`, up to the offset `stop`.

    Lines longer than `max_line` bytes are rejected as `too_long`; a damaged gzip stream ends as `truncated`.
    """
    position, rest, skipping = start, b"", False
    source = _Source(stream, reject)
    while chunk := source.read(BLOCK_BYTES if stop is None else stop - position - len(rest), position):
        if skipping:
            cut = chunk.find(b"\n") + 1
            position += cut or len(chunk)
            chunk, skipping = chunk[cut:] if cut else b"", not cut
        cut = chunk.rfind(b"\n") + 1
        if cut:
            text = b"".join((rest, memoryview(chunk)[: cut - 1]))
            yield _block(text, position, position + len(text) + 1, max_line, reject)
            position += len(text) + 1
            rest = b""
        rest += chunk[cut:]
        if len(rest) > max_line:
            reject("too_long", position, rest[:512])
            position, rest, skipping = position + len(rest), b"", True
    if rest:
        yield _block(rest, position, position, max_line, reject)


class _Source:
    """Reads a stream up to where it is damaged, and rejects the damage once."""

    def __init__(self, stream: IO[bytes], reject: RejectAt) -> None:
        self._stream = stream
        self._reject = reject
        self._damaged = False

    def read(self, size: int, position: int) -> bytes:
        size = min(size, BLOCK_BYTES)
        if self._damaged or size <= 0:
            return b""
        if not isinstance(self._stream, gzip.GzipFile):
            return self._stream.read(size)
        parts: list[bytes] = []
        try:  # in small steps: a large read that fails would lose the undamaged bytes before the damage
            while size > 0 and (part := self._stream.read1(size)):
                parts.append(part)
                size -= len(part)
        except (EOFError, zlib.error, gzip.BadGzipFile):
            self._damaged = True
            self._reject("truncated", position, b"")
        return b"".join(parts)


def _block(text: bytes, start: int, end: int, max_line: int, reject: RejectAt) -> LineBlock:
    ends = np.append(np.flatnonzero(np.frombuffer(text, np.uint8) == ord("\n")), len(text))
    begins = np.append(0, ends[:-1] + 1)
    sizes = ends - begins
    is_read = (sizes > 0) & (sizes <= max_line)
    if not is_read.all():
        for index in np.flatnonzero(sizes > max_line).tolist():
            begin = int(begins[index])
            reject("too_long", start + begin, text[begin : min(begin + 512, int(ends[index]))])
        begins, ends = begins[is_read], ends[is_read]
        text = b"\n".join([text[begin:stop] for begin, stop in zip(begins.tolist(), ends.tolist(), strict=True)])
        ends = np.cumsum(ends - begins + 1) - 1
    return LineBlock(start, end, text, start + begins, ends)


class Checkpoints:
    """Entries by ascending hour; hours are counted since the epoch."""

    def __init__(self, entries: Iterable[Iterable[int]] = ()) -> None:
        self._entries: list[tuple[int, int]] = [(int(hour), int(offset)) for hour, offset in entries]

    @property
    def latest(self) -> int | None:
        """The latest hour that holds an event."""
        return self._entries[-1][0] if self._entries else None

    def add(self, micros: int, start: int) -> None:
        """Record that the newest event of the block at `start` is at `micros`."""
        hour = micros // HOUR
        if self.latest is None or hour > self.latest:
            self._entries.append((hour, start))

    def find_offset(self, hour: int) -> int | None:
        """Return the offset before which all events are older than `hour`; None when no event is as new."""
        return next((offset for latest, offset in self._entries if latest >= hour), None)

    def before(self, offset: int) -> "Checkpoints":
        """Return the entries that stay valid when the file is read again from `offset`."""
        return Checkpoints(entry for entry in self._entries if entry[1] < offset)

    def to_rows(self, limit: int = 256) -> list[list[int]]:
        """Return at most `limit` entries, ready to be stored.

        Entries are thinned by giving an hour the offset of the entry before it, which reads more but misses nothing.
        """
        entries = list(self._entries)
        while len(entries) > limit:
            pairs = zip(entries[0::2], entries[1::2], strict=False)
            odd = entries[-1:] if len(entries) % 2 else []
            entries = [(later[0], earlier[1]) for earlier, later in pairs] + odd
        return [list(entry) for entry in entries]
