"""Scores how worn out each ad is, from its own past. Pure: rows in, scores out."""

from adwarm.fatigue.curves import ALGORITHM, AUDIENCE, CREATIVE, Curve
from adwarm.fatigue.score import CALCULATOR_VERSION, FatigueScore, band, score_account

__all__ = [
    "ALGORITHM",
    "AUDIENCE",
    "CALCULATOR_VERSION",
    "CREATIVE",
    "Curve",
    "FatigueScore",
    "band",
    "score_account",
]
