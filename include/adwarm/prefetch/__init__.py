"""Prefetch: fetches report keys in batches and publishes their entries."""

from adwarm.prefetch.batch_result import BatchResult, KeyOutcome, KeyRequest, KeyStatus
from adwarm.prefetch.engine import PrefetchEngine

__all__ = ["BatchResult", "KeyOutcome", "KeyRequest", "KeyStatus", "PrefetchEngine"]
