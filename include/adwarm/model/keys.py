"""What a report key means: the absolute days of its range, how long their data stays fresh, its query and entry.

The absolute days that date ranges mean in an account's time zone, and how long data of those days stays fresh.

One rule of freshness serves planner, store, reader and the outcomes of warms.
"""

import hashlib
import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta
from functools import lru_cache

from adwarm.foundation.errors import BadRequest
from adwarm.foundation.local_time import local_day, local_midnight
from adwarm.model.accounts import Account
from adwarm_client.date_ranges import MAX_DAYS, ONE_DAY, PRESETS, Window, absolute_window
from adwarm_client.keys import ReportKey

_NEXT = "@next"
MAX_NEXT_NAME = 40
"""Most characters of a report's name in the database."""
DEFAULT_FIELDS = (
    "account_id",
    "campaign_id",
    "adset_id",
    "ad_id",
    "ad_name",
    "objective",
    "optimization_goal",
    "impressions",
    "reach",
    "frequency",
    "clicks",
    "inline_link_clicks",
    "ctr",
    "cpm",
    "cpc",
    "spend",
    "results",
    "cost_per_result",
    "actions",
    "cost_per_action_type",
)


def check_served(date_range: str, today: date) -> str:
    """Return a valid `date_range` unchanged when the platform has data for its days; presets always pass.

    Args:
        date_range: what `validate_date_range` accepts.
        today: the current day in the account's zone.

    Raises:
        BadRequest: a day of it is in the future, or older than the `MAX_DAYS` that the platform keeps.
    """
    if date_range in PRESETS:
        return date_range
    window, oldest = absolute_window(date_range), today - timedelta(days=MAX_DAYS - 1)
    if window.until > today:
        raise BadRequest(f"date range {date_range!r} ends in the future; today is {today} for this account")
    if window.since < oldest:
        raise BadRequest(f"date range {date_range!r} starts before {oldest}, the oldest day that the platform keeps")
    return date_range


def resolve_window(date_range: str, zone_name: str, at: datetime) -> Window:
    """Return the absolute days that `date_range` means at `at` in the zone `zone_name`.

    `last_Nd` is N full days and ends yesterday. Weeks start on Monday unless the name says otherwise. `maximum` is
    `MAX_DAYS` long and ends today.

    Raises:
        BadRequest: the range or the zone is unknown.
    """
    preset = PRESETS.get(date_range)
    return preset(local_day(at, zone_name)) if preset else absolute_window(date_range)


@dataclass(frozen=True, slots=True)
class FreshnessRules:
    """How long data of a day is fresh, by the age of the day in the account's data zone.

    Attributes:
        today: when the day is today.
        yesterday: when it is yesterday.
        week: when it is 2 to `daily_days` days old.
        settling: when it is older and not settled.
        settle_days: days older than this are settled.
        daily_days: age up to which days are fetched again daily.
    """

    today: timedelta = timedelta(hours=3)
    yesterday: timedelta = timedelta(hours=6)
    week: timedelta = timedelta(hours=24)
    settling: timedelta = timedelta(days=7)
    settle_days: int = 28
    daily_days: int = 7

    def max_age(self, age_days: int) -> timedelta | None:
        """Return how long data of a day that is `age_days` old stays fresh; None means forever."""
        if age_days <= 0:
            return self.today
        if age_days == 1:
            return self.yesterday
        if age_days <= self.daily_days:
            return self.week
        return self.settling if age_days <= self.settle_days else None

    def lifetime(self, newest: int, days: int) -> timedelta | None:
        """Return how long `days` days stay fresh that were fetched together, the newest of them `newest` days old."""
        ages = (newest, *(age for age in (1, 2, self.daily_days + 1) if newest < age < newest + days))
        return min((life for age in ages if (life := self.max_age(age)) is not None), default=None)


def expires_at(
    window: Window,
    data_zone: str,
    fetched_at: datetime,
    rules: FreshnessRules | None = None,
    *,
    at: datetime | None = None,
) -> datetime | None:
    """Return when data of `window`, all of it fetched at `fetched_at`, stops being fresh; None means never.

    Data of today and of yesterday is fresh until the account's midnight at the latest: the day has ended then, or its
    first restatement is due.

    Args:
        at: the moment by which the age of the days is counted; None: when they were fetched.
    """
    rules = rules or FreshnessRules()
    if is_settled(window.until, data_zone, fetched_at, rules):
        return None
    today = local_day(at or fetched_at, data_zone)
    newest = (today - window.until).days
    end = fetched_at + (rules.lifetime(newest, len(window)) or rules.settling)
    return end if newest > 1 else min(end, local_midnight(today + ONE_DAY, data_zone))


def is_settled(day: date, data_zone: str, fetched_at: datetime, rules: FreshnessRules | None = None) -> bool:
    """Whether data of `day` fetched at `fetched_at` is final: the platform does not restate it after `settle_days`."""
    return (local_day(fetched_at, data_zone) - day).days > (rules or FreshnessRules()).settle_days


def name_next(report: str) -> str:
    """Return the internal name of the query that a report is switched to; no external name can contain its mark."""
    return f"{report}{_NEXT}"


def name_report(name: str) -> str:
    """Return the report of a name, whether it is that of the current query or of the next one."""
    return name.removesuffix(_NEXT)


@dataclass(frozen=True, slots=True)
class QuerySpec:
    """The query of a report. Its hash is part of every partition, entry and lease key.

    Attributes:
        attribution: the setting that counts conversions: `unified`, that of each ad set, as Ads Manager shows;
            `account`, that of the ad account; empty in a stored query that states none.
        breakdowns: fields by whose values the platform divides the row of an object and day; see `model.breakdowns`.
        action_breakdowns: fields by which it divides the items of lists of actions.
    """

    level: str = "ad"
    fields: tuple[str, ...] = DEFAULT_FIELDS
    attribution_windows: tuple[str, ...] = ()
    attribution: str = "unified"
    breakdowns: tuple[str, ...] = ()
    action_breakdowns: tuple[str, ...] = ()

    @property
    def identity(self) -> tuple[str, ...]:
        """The fields that tell the rows of one day or window apart; every rule about rows takes them from here."""
        return (f"{self.level}_id", *sorted(self.breakdowns))

    @property
    def hash(self) -> str:
        """Twelve hex digits, different for every query."""
        return _hash_query(self)


@lru_cache(maxsize=1_024)
def _hash_query(spec: QuerySpec) -> str:
    """Return the hash of a query; every read of a report needs it."""
    attribution = [spec.attribution] if spec.attribution else []
    divided = [sorted(spec.breakdowns), sorted(spec.action_breakdowns)]
    text = json.dumps([
        *(spec.level, sorted(spec.fields), sorted(spec.attribution_windows)),
        *(attribution + divided if any(divided) else attribution),
    ])
    return hashlib.sha256(text.encode()).hexdigest()[:12]


def row_key(row: Mapping[str, object], identity: Sequence[str]) -> tuple[object, ...]:
    """Return what tells a row apart: its first day, its last day, and its values of `QuerySpec.identity`.

    A group may have an empty name, or none; it is a group of its own.
    """
    return row.get("date_start"), row.get("date_stop"), *map(row.get, identity)


@dataclass(frozen=True, slots=True, order=True)
class EntryKey:
    """The key of an entry. Its days are absolute, so that no entry serves yesterday's window after midnight."""

    account_id: str
    window: Window
    spec_hash: str


def resolve_key(key: ReportKey, account: Account, spec: QuerySpec, at: datetime) -> EntryKey:
    """Return the entry key of `key` at `at`. Warmer and reader both resolve keys with this function only."""
    return EntryKey(key.account_id, resolve_window(key.date_range, account.data_zone, at), spec.hash)


def matches_key(entry: EntryKey, key: ReportKey, account: Account, spec: QuerySpec, fetched_at: datetime) -> bool:
    """Whether `key` resolved to `entry` at `fetched_at`, whatever date range the entry was stored for."""
    return resolve_key(key, account, spec, fetched_at) == entry
