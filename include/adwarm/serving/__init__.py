"""Serving: the one read path, with or without a fetch on a miss."""

from adwarm.prefetch.queue_worker import DrainResult, QueueWorker
from adwarm.serving.canary import CanaryReport, read_back
from adwarm.serving.reader import Answer, Reader, ReadStatus, read_or_fetch

__all__ = ["Answer", "CanaryReport", "DrainResult", "QueueWorker", "ReadStatus", "Reader", "read_back", "read_or_fetch"]
