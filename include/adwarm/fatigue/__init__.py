"""Scores the fatigue of ads, each against its own past. Everything exported here is pure: rows in, scores out."""

from adwarm.fatigue.curves import ALGORITHM_CURVE, AUDIENCE_CURVE, CREATIVE_CURVE, ScoreCurve
from adwarm.fatigue.score import CALCULATOR_VERSION, score_account, status_of

__all__ = [
    "ALGORITHM_CURVE",
    "AUDIENCE_CURVE",
    "CALCULATOR_VERSION",
    "CREATIVE_CURVE",
    "ScoreCurve",
    "score_account",
    "status_of",
]
