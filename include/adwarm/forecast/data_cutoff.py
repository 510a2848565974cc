"""Up to where the log is taken as known when a plan is made: fixed by the clock and the settings alone.

What happens to be known beyond that is not looked at, so that a plan made again later is the same plan.
"""

from datetime import datetime, timedelta

from adwarm.foundation.clock import floor_to
from adwarm.settings import Settings

ARRIVAL_DELAY = timedelta(minutes=5)
"""What an event may take to reach the log, and a reading to be done."""


def data_cutoff_at(at: datetime, settings: Settings) -> datetime:
    """Return the end of what a decision at `at` goes by: the last reading of the log that is surely done."""
    return floor_to(at - ARRIVAL_DELAY, timedelta(minutes=settings.forecast.log_every_minutes))


def max_data_age(settings: Settings) -> timedelta:
    """Return how old that knowledge is at most, for decisions on the quarter of an hour."""
    return timedelta(minutes=settings.forecast.log_every_minutes)
