"""Scores the fatigue of ads, each against its own past. `account_scores` scores what is stored."""
