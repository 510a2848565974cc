"""How long data stays fresh: one rule for planner, store, reader and accounting."""

from dataclasses import dataclass
from datetime import date, datetime, timedelta

from adwarm.foundation.local_time import local_day
from adwarm.model.windows import Window


@dataclass(frozen=True, slots=True)
class FreshnessRules:
    """Life of an entry by the age of the newest day in it, counted in the account's data zone."""

    today: timedelta = timedelta(hours=3)
    yesterday: timedelta = timedelta(hours=6)
    week: timedelta = timedelta(hours=24)
    settling: timedelta = timedelta(days=7)
    settle_days: int = 28
    daily_days: int = 7

    def max_age(self, age_days: int) -> timedelta | None:
        """Return how long data `age_days` old stays fresh; None means for ever."""
        if age_days <= 0:
            return self.today
        if age_days == 1:
            return self.yesterday
        if age_days <= self.daily_days:
            return self.week
        return self.settling if age_days <= self.settle_days else None


def expires_at(
    window: Window, data_zone: str, fetched_at: datetime, rules: FreshnessRules | None = None
) -> datetime | None:
    """Return when data of `window` fetched at `fetched_at` stops being fresh; None means never."""
    age = (local_day(fetched_at, data_zone) - window.until).days
    life = (rules or FreshnessRules()).max_age(age)
    return None if life is None else fetched_at + life


def is_settled(day: date, data_zone: str, fetched_at: datetime, rules: FreshnessRules | None = None) -> bool:
    """Whether figures of `day` fetched at `fetched_at` are final: the platform restates none older than 28 days."""
    return (local_day(fetched_at, data_zone) - day).days > (rules or FreshnessRules()).settle_days
