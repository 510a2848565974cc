"""What scores were computed from: locked in order, kept only once it is stored."""

from datetime import UTC, date, datetime

from sqlalchemy import Engine

from adwarm.store import fatigue_days
from adwarm.store.database import write_transaction
from adwarm.store.fatigue_days import ScoreInputs

AT = datetime(2026, 11, 25, 1, 0, tzinfo=UTC)
KEY = ("act_1", date(2026, 11, 24))
INPUTS = ScoreInputs("in", "data", 3, 2, "source", "figures", "v1")


def test_a_locked_day_counts_only_once_it_is_stored(engine: Engine) -> None:
    """Locking a day creates no inputs that a reader sees; storing them does."""
    with write_transaction(engine) as connection:
        assert fatigue_days.lock(connection, [KEY], AT) == {}
    assert fatigue_days.list_inputs(engine, ["act_1"]) == {}
    with write_transaction(engine) as connection:
        fatigue_days.save(connection, {KEY: INPUTS}, AT)
    with write_transaction(engine) as connection:
        assert fatigue_days.lock(connection, [KEY], AT) == {KEY: INPUTS}
    assert fatigue_days.list_inputs(engine, ["act_1"]) == {"act_1": {KEY[1]: INPUTS}}
