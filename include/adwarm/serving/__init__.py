"""Serving: reads entries, with or without a fetch on a miss."""

from adwarm.serving.read_chain import ReadChain, read_or_fetch
from adwarm.serving.reader import Reader, ReadResult, ReadStatus, list_cold, read_back

__all__ = [
    "ReadChain",
    "ReadResult",
    "ReadStatus",
    "Reader",
    "list_cold",
    "read_back",
    "read_or_fetch",
]
