"""Reads warmed keys back as a reader would: the proof that the key warmed is the key requested."""

from collections.abc import Sequence
from dataclasses import dataclass

from adwarm.model import Actor, ReportKey
from adwarm.serving.reader import Reader, ReadStatus


@dataclass(frozen=True, slots=True)
class CanaryResult:
    """How many keys were read back, and what went wrong with the rest."""

    read: int
    misses: tuple[str, ...]


def read_back(reader: Reader, keys: Sequence[ReportKey], limit: int = 20) -> CanaryResult:
    """Read up to `limit` keys, spread over `keys`, as the actor `warmer`; each must be a hit whose bytes verify."""
    step = max(1, len(keys) // limit)
    chosen = list(keys[::step])[:limit]
    misses = []
    for key in chosen:
        answer = reader.read(key, Actor.WARMER)
        if answer.status is not ReadStatus.HIT:
            misses.append(f"{key}: {answer.status}, {answer.reason}")
    return CanaryResult(len(chosen), tuple(misses))
