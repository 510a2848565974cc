"""Fatigue scores as tests need them: one with given values, and a way to store some."""

from collections import defaultdict
from collections.abc import Sequence
from dataclasses import fields
from datetime import date, datetime
from typing import Any

import orjson
from sqlalchemy import Engine

from adwarm.model import FatigueScore
from adwarm.store.fatigue_days import ScoreInputs
from adwarm.store.scores import DayScores, publish_days

_FIELDS = tuple(field.name for field in fields(FatigueScore))


def make_score(ad_id: str, as_of: date, **values: Any) -> FatigueScore:
    """Return a healthy score without figures, with other values where they are given."""
    defaults: dict[str, Any] = {
        "account_id": "act_1",
        "ad_name": f"ad {ad_id}",
        "status": "healthy",
        "total": None,
        "creative": None,
        "audience": None,
        "algorithm": None,
        "data_quality": 1.0,
        "trend_per_day": None,
        "days_to_critical": None,
        "baseline": {},
        "calculator_version": "1",
    }
    return FatigueScore(**{**defaults, **values, "ad_id": ad_id, "as_of": as_of})


def publish(engine: Engine, scores: Sequence[FatigueScore], data_version: int, settled: bool, at: datetime) -> int:
    """Store the scores of each account and day in `scores`, and return how many were stored."""
    groups: dict[tuple[str, date], list[FatigueScore]] = defaultdict(list)
    for score in scores:
        groups[score.account_id, score.as_of].append(score)
    days = [
        DayScores(account_id, as_of, to_columns(group), 0, len(group), _inputs(group[0], data_version), settled)
        for (account_id, as_of), group in groups.items()
    ]
    return sum(len(groups[key]) for key in publish_days(engine, days, at))


def to_columns(scores: Sequence[FatigueScore]) -> dict[str, Sequence[Any]]:
    """Return the values of each field of scores, as `DayScores` has them."""
    columns: dict[str, Sequence[Any]] = {name: [getattr(score, name) for score in scores] for name in _FIELDS}
    return {**columns, "baseline": [orjson.dumps(values).decode() for values in columns["baseline"]]}


def _inputs(score: FatigueScore, data_version: int) -> ScoreInputs:
    return ScoreInputs("", "", data_version, calculator_version=score.calculator_version)
