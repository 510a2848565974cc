"""Prefetch: the planner that finds the fewest requests, and the engine that carries a batch of keys through."""

from adwarm.prefetch.batch_result import BatchResult, KeyOutcome, KeyRequest, KeyStatus
from adwarm.prefetch.engine import PrefetchEngine

__all__ = ["BatchResult", "KeyOutcome", "KeyRequest", "KeyStatus", "PrefetchEngine"]
