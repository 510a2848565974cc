"""Scores the fatigue of ads, each against its own past: rows in, scores out. `account_scores` scores what is stored."""

from adwarm.fatigue.score import score_account

__all__ = ["score_account"]
