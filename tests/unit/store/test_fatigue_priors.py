"""Priors are snapshots: each restatement makes a new version, and equal data makes none."""

from dataclasses import replace
from datetime import UTC, date, datetime

from sqlalchemy import Engine

from adwarm.store import fatigue_days
from adwarm.store.fatigue_days import StoredPrior

AT = datetime(2026, 11, 25, 1, 0, tzinfo=UTC)
JUNE, JULY = date(2026, 6, 1), date(2026, 7, 1)
PRIOR = StoredPrior({"noise_sd": 0.1, "ctr_weekdays": [1.0, 0.9]}, "a", 90, 90, "v1")


def test_versions_count_up_with_the_data_behind_them(engine: Engine) -> None:
    """Equal data or an equal run later stores nothing; other data or another calculation stores the next version."""
    keys = ("act_1", JUNE), ("act_1", JULY), ("act_2", JUNE)
    assert fatigue_days.save_priors(engine, dict.fromkeys(keys, PRIOR), AT) == 3
    assert fatigue_days.save_priors(engine, dict.fromkeys(keys, PRIOR), AT) == 0
    assert fatigue_days.save_priors(engine, {keys[0]: replace(PRIOR, input_hash="b")}, AT) == 1
    assert fatigue_days.save_priors(engine, {keys[0]: replace(PRIOR, input_hash="b", calculator_version="v2")}, AT) == 1
    newest = fatigue_days.list_priors(engine, ["act_1", "act_2", "act_3"], [JUNE, JULY])
    assert {key: item.version for key, item in newest.items()} == {keys[0]: 3, keys[1]: 1, keys[2]: 1}
    assert newest[keys[1]] == replace(PRIOR, version=1)
    assert fatigue_days.list_priors(engine, ["act_1"], []) == {}
