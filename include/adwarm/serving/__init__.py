"""Serving: the one read path, with or without a fetch on a miss."""

from adwarm.prefetch.queue_worker import DrainResult, QueueWorker
from adwarm.serving.canary import CanaryResult, read_back
from adwarm.serving.reader import Reader, ReadResult, ReadStatus, read_or_fetch

__all__ = [
    "CanaryResult",
    "DrainResult",
    "QueueWorker",
    "ReadResult",
    "ReadStatus",
    "Reader",
    "read_back",
    "read_or_fetch",
]
