"""Writes logs of garbage with valid lines in between, and reads them in a process whose memory is measured."""

import gzip
import random
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import IO, Any

import zstandard

MIB = 2**20
VALID_EVERY = 16 * MIB
"""A valid line follows each such stretch of garbage."""

_FIRST_LINES = 60

_LINE = '{{"ts":"2026-11-{day:02d}T{hour:02d}:00:00Z","account_id":"act_{number}","date_range":"last_7d"}}\n'
_RANDOM = random.Random(7).randbytes(MIB)


def valid_line(number: int) -> bytes:
    """Return an event of its own, as a line of JSON."""
    return _LINE.format(day=1 + number % 20, hour=number % 24, number=number + 1).encode()


def _stretch(kind: str) -> bytes:
    """Return a MiB of one kind of garbage."""
    if kind == "binary":  # with line ends and NULs, and little of it UTF-8
        return _RANDOM
    if kind == "endless line":
        return b"x" * MIB
    if kind == "NULs":
        return bytes(MIB)
    if kind == "invalid UTF-8":
        return (b'{"ts":"\xff\xfe\xc3","account_id":"act_\xed\xa0\x80"}\n' * 40_000)[: MIB - 1] + b"\n"
    if kind == "deep JSON":
        deep = b'{"ts":' + b"[" * 20_000 + b"]" * 20_000 + b"}\n"
        return (deep * 27)[: MIB - 1] + b"\n"
    if kind == "empty lines":
        return b"\n" * MIB
    if kind == "quotes":
        return (b'"' * 60 + b",\n") * (MIB // 62)
    return b'{"ts":"2026-11-01T00:00:00Z","account_id":"act_1; DROP TABLE entry","date_range":"{{ 7*7 }}"}\n' * 11_000


KINDS = ("binary", "endless line", "NULs", "invalid UTF-8", "deep JSON", "empty lines", "quotes", "hostile values")


def garbage(kind: str, size: int) -> Iterator[bytes]:
    """Yield about `size` bytes of garbage, with a valid line before each stretch and at the end.

    The first lines are valid: a file that begins with binary data is refused as a whole.
    """
    part, count = _stretch(kind), _FIRST_LINES
    yield from map(valid_line, range(_FIRST_LINES))
    for start in range(0, size, VALID_EVERY):
        yield valid_line(count)
        for _ in range(min(VALID_EVERY, size - start) // MIB):
            yield part
        yield b"\n"
        count += 1
    yield valid_line(count)


def count_valid(size: int) -> int:
    """Return how many valid lines `garbage` of that size has."""
    return _FIRST_LINES + len(range(0, size, VALID_EVERY)) + 1


def write_log(path: Path, kind: str, size: int) -> None:
    """Write a log of garbage; a name with `.gz` or `.zst` is compressed."""
    with _open(path) as file:
        for part in garbage(kind, size):
            file.write(part)


def _open(path: Path) -> Any:
    if path.suffix == ".gz":
        return gzip.open(path, "wb", compresslevel=1)
    if path.suffix == ".zst":
        stream: IO[bytes] = path.open("wb")
        return zstandard.ZstdCompressor(level=1).stream_writer(stream)
    return path.open("wb")


def read_log(folder: str, home: str) -> Callable[[], Any]:
    """Return the reading of a folder of logs; its result is what was found."""
    from adwarm.access_log.log_reader import read_events
    from adwarm.access_log.quarantine import Quarantine
    from adwarm.settings import Settings

    settings = Settings(home=Path(home))

    def work() -> dict[str, Any]:
        quarantine = Quarantine()
        events, accounts = 0, set[str]()
        for batch in read_events(folder, settings, quarantine=quarantine):
            events += batch.num_rows
            accounts.update(map(str, batch.column("account_id").to_pylist()))
        return {
            "events": events,
            "accounts": len(accounts),
            "rejected": quarantine.count,
            "reasons": dict(quarantine.by_reason),
            "samples": len(quarantine.samples),
            "sample_bytes": len(quarantine.to_jsonl()),
        }

    return work
