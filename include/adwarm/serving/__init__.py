"""Serving: reads entries, with or without a fetch on a miss."""

from adwarm.serving.canary import CanaryResult, read_back
from adwarm.serving.reader import Reader, ReadResult, ReadStatus, read_or_fetch

__all__ = [
    "CanaryResult",
    "ReadResult",
    "ReadStatus",
    "Reader",
    "read_back",
    "read_or_fetch",
]
