"""Prefetch: the planner that finds the fewest requests, and the engine that carries a batch of keys through."""

from adwarm.prefetch.batch_result import BatchReport, KeyOutcome, KeyStatus, Wanted
from adwarm.prefetch.engine import PrefetchEngine

__all__ = ["BatchReport", "KeyOutcome", "KeyStatus", "PrefetchEngine", "Wanted"]
