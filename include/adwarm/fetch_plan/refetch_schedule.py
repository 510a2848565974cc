"""The settle calendar: when a day that is there has to be asked for again, and when it is final.

Today and yesterday are asked again by their freshness, days up to a week old once a day, older ones together once a
week on the account's own weekday, and once more when the platform restates them no longer. After that never.
"""

import hashlib
from dataclasses import dataclass, field
from datetime import date, datetime, timedelta

from adwarm.foundation.local_time import local_day, local_midnight
from adwarm.model import Account, FreshnessRules, Window, is_settled
from adwarm.model.windows import ONE_DAY


@dataclass(frozen=True, slots=True)
class RefetchSchedule:
    """The calendar of one account.

    Attributes:
        data_zone: the zone in which its days are counted.
        weekday: 0 (Monday) to 6, the day on which its settling days are asked for again.
    """

    data_zone: str
    weekday: int = 0
    rules: FreshnessRules = field(default_factory=FreshnessRules)

    @classmethod
    def for_account(cls, account: Account, rules: FreshnessRules) -> "RefetchSchedule":
        """Return the account's calendar; accounts are spread evenly over the week by their ids."""
        return cls(account.data_zone, refetch_weekday(account.id), rules)

    def today(self, now: datetime) -> date:
        """Return the account's day at `now`."""
        return local_day(now, self.data_zone)

    def is_final(self, day: date, fetched_at: datetime) -> bool:
        """Whether figures of `day` fetched at `fetched_at` are never asked for again."""
        return is_settled(day, self.data_zone, fetched_at, self.rules)

    def is_due(self, day: date, fetched_at: datetime, now: datetime) -> bool:
        """Whether figures of `day` fetched at `fetched_at` have to be asked for again at `now`."""
        if self.is_final(day, fetched_at):
            return False
        today = self.today(now)
        if fetched_at < self.midnight(day + ONE_DAY) <= now:
            return True  # it was read while the day still ran
        age = (today - day).days
        if age <= 1:
            life = self.rules.max_age(age)
            return life is not None and fetched_at + life <= now
        return fetched_at < self.midnight(today if age <= self.rules.daily_days else self._last_weekly(today))

    def is_summary_due(self, window: Window, fetched_at: datetime, now: datetime) -> bool:
        """Whether a summary of `window` fetched at `fetched_at` is due, as long as no day in it was restated."""
        return not self.is_final(window.until, fetched_at) and fetched_at < self.midnight(self.today(now))

    def midnight(self, day: date) -> datetime:
        """Return the moment (UTC) at which `day` begins where the account is."""
        return local_midnight(day, self.data_zone)

    def _last_weekly(self, today: date) -> date:
        return today - timedelta(days=(today.weekday() - self.weekday) % 7)


def refetch_weekday(account_id: str) -> int:
    """Return the weekday of an account, 0 for Monday; it depends on the id alone."""
    return hashlib.sha256(account_id.encode()).digest()[0] % 7
