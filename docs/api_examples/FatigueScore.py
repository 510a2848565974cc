from datetime import date

from adwarm import FatigueScore, Settings, score_account

scores: list[FatigueScore] = score_account([], [], date(2026, 11, 1), Settings().fatigue)
assert scores == []
