"""Up to where the log is taken as known."""

from datetime import UTC, datetime, timedelta

import pytest

from adwarm.forecast.data_cutoff import data_cutoff_at, max_data_age
from adwarm.settings import Settings

AT = datetime(2026, 3, 2, 9, tzinfo=UTC)


@pytest.mark.parametrize(
    ("every", "minute", "known"),
    [
        (60, 0, -60),
        (60, 15, 0),
        (60, 45, 0),
        (15, 0, -15),
        (15, 15, 0),
        (15, 5, 0),
        (15, 4, -15),
    ],
)
def test_the_last_reading_that_is_surely_done(every: int, minute: int, known: int) -> None:
    """A reading of the last five minutes may not be there yet; what is known beyond the last one is not looked at."""
    settings = Settings(forecast={"log_every_minutes": every})
    found = data_cutoff_at(AT + timedelta(minutes=minute), settings)
    assert found == AT + timedelta(minutes=known)
    assert AT + timedelta(minutes=minute) - found <= max_data_age(settings) + timedelta(minutes=4)
