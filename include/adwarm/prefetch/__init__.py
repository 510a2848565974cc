"""Prefetch: the planner that finds the fewest requests, and the engine that carries a batch of keys through."""

from adwarm.prefetch.engine import PrefetchEngine
from adwarm.prefetch.outcome import BatchReport, KeyOutcome, KeyStatus, Wanted

__all__ = ["BatchReport", "KeyOutcome", "KeyStatus", "PrefetchEngine", "Wanted"]
