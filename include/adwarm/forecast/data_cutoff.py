"""The moment up to which the log counts as known when a plan is made; it depends on the clock and the settings alone.

Opens after it are ignored even when they are already known, so that planning again later gives the same plan.
"""

from datetime import datetime, timedelta

from adwarm.foundation.clock import floor_to
from adwarm.settings import Settings

ARRIVAL_DELAY = timedelta(minutes=5)
"""Time that an event may take to reach the log, and an ingest to finish."""


def data_cutoff_at(at: datetime, settings: Settings) -> datetime:
    """Return the cutoff of a decision at `at`: the last ingest of the log that has certainly finished."""
    return floor_to(at - ARRIVAL_DELAY, timedelta(minutes=settings.forecast.log_every_minutes))


def find_unseen(trained_until: datetime, settings: Settings) -> datetime:
    """Return a full hour from which on each decision's cutoff is no earlier than the end of a training."""
    step = timedelta(minutes=settings.forecast.log_every_minutes)
    return floor_to(trained_until + step + ARRIVAL_DELAY, timedelta(hours=1)) + timedelta(hours=1)


def max_data_age(settings: Settings) -> timedelta:
    """Return how long before a decision the cutoff is at most, for decisions every 15 minutes."""
    return timedelta(minutes=settings.forecast.log_every_minutes)
