"""Reads warmed keys back as a reader would, to prove that the warmed key is the key that is requested."""

from collections.abc import Sequence
from dataclasses import dataclass

from adwarm.model import Actor, ReportKey
from adwarm.serving.reader import Reader, ReadStatus


@dataclass(frozen=True, slots=True)
class CanaryResult:
    """The result of reading keys back.

    Attributes:
        read: keys that were read.
        misses: keys that were not a hit, and why.
    """

    read: int
    misses: tuple[str, ...]


def read_back(reader: Reader, keys: Sequence[ReportKey], limit: int = 20) -> CanaryResult:
    """Read up to `limit` of `keys`, evenly spread, as the actor `warmer`; anything but a verified hit is a miss."""
    step = max(1, len(keys) // limit)
    chosen = list(keys[::step])[:limit]
    misses = []
    for key in chosen:
        result = reader.read(key, Actor.WARMER)
        if result.status is not ReadStatus.HIT:
            misses.append(f"{key}: {result.status}, {result.reason}")
    return CanaryResult(len(chosen), tuple(misses))


def list_cold(reader: Reader, keys: Sequence[ReportKey]) -> list[ReportKey]:
    """Return those of `keys` that a reader would not find fresh now. Counts no read and fetches nothing.

    Raises:
        BadRequest: a report is not configured.
    """
    return [key for key in keys if reader.read(key, Actor.WARMER, record_traffic=False).status is not ReadStatus.HIT]
