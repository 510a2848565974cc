"""The refetch schedule: when a stored day has to be fetched again, and when it is final.

| age of the day     | fetched again                                                               |
|--------------------|-----------------------------------------------------------------------------|
| 0 and 1 day        | when its freshness ends                                                     |
| up to a week       | once a day                                                                  |
| older, not settled | once a week, on the account's own weekday                                   |
| settled            | once after the platform has stopped restating it, then never                |
"""

import hashlib
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from adwarm.foundation.local_time import local_day, local_midnight
from adwarm.model import Account, FreshnessRules, Window, is_settled
from adwarm_client.date_ranges import ONE_DAY


@dataclass(frozen=True, slots=True)
class RefetchSchedule:
    """The schedule of one account.

    Attributes:
        data_zone: the zone in which its days are counted.
        weekday: 0 (Monday) to 6; the day on which its older unsettled days are fetched again.
        rules: ages at which data goes stale and settles.
    """

    data_zone: str
    weekday: int = 0
    rules: FreshnessRules = field(default_factory=FreshnessRules)

    @classmethod
    def for_account(cls, account: Account, rules: FreshnessRules) -> "RefetchSchedule":
        """Return the account's schedule; the weekday comes from its id, which spreads accounts over the week."""
        return cls(account.data_zone, refetch_weekday(account.id), rules)

    def today(self, now: datetime) -> date:
        """Return the account's day at `now`."""
        return local_day(now, self.data_zone)

    def is_final(self, day: date, fetched_at: datetime) -> bool:
        """Whether data of `day` fetched at `fetched_at` is never fetched again."""
        return is_settled(day, self.data_zone, fetched_at, self.rules)

    def is_due(self, day: date, fetched_at: datetime, now: datetime) -> bool:
        """Whether data of `day` fetched at `fetched_at` has to be fetched again at `now`."""
        if self.is_final(day, fetched_at):
            return False
        today = self.today(now)
        if fetched_at < self._midnight(day + ONE_DAY) <= now:
            return True  # it was fetched while the day was still running
        age = (today - day).days
        if age <= 1:
            life = self.rules.max_age(age)
            return life is not None and fetched_at + life <= now
        return fetched_at < self._midnight(today if age <= self.rules.daily_days else self._last_weekly(today))

    def is_summary_due(self, window: Window, fetched_at: datetime, now: datetime) -> bool:
        """Whether a summary of `window` fetched at `fetched_at` is due, given that none of its days was restated."""
        return not self.is_final(window.until, fetched_at) and fetched_at < self._midnight(self.today(now))

    def _midnight(self, day: date) -> datetime:
        return local_midnight(day, self.data_zone)

    def _last_weekly(self, today: date) -> date:
        return today - timedelta(days=(today.weekday() - self.weekday) % 7)


def refetch_weekday(account_id: str) -> int:
    """Return the weekday of an account, 0 for Monday; it depends only on the id."""
    return hashlib.sha256(account_id.encode()).digest()[0] % 7
