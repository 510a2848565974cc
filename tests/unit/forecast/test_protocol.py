"""The moment up to which the log counts as known."""

from datetime import UTC, datetime, timedelta

import pytest

from adwarm.forecast.protocol import data_cutoff_at, max_data_age
from adwarm.settings import Settings

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)


def test_the_cutoff_is_the_last_ingest_that_has_finished(subtests: pytest.Subtests) -> None:
    """An ingest of the last five minutes may not have finished; opens after the last finished one are ignored."""
    for every, minute, known in [
        (60, 0, -60),
        (60, 15, 0),
        (60, 45, 0),
        (15, 0, -15),
        (15, 15, 0),
        (15, 5, 0),
        (15, 4, -15),
    ]:
        with subtests.test(every=every):
            settings = Settings(forecast={"log_every_minutes": every})
            result = data_cutoff_at(AT + timedelta(minutes=minute), settings)
            assert result == AT + timedelta(minutes=known)
            assert AT + timedelta(minutes=minute) - result <= max_data_age(settings) + timedelta(minutes=4)
