"""Describes access patterns as one JSON document, which `adwarm patterns` prints as a table, a map or as it is."""

from collections.abc import Mapping, Sequence
from itertools import islice
from typing import Any

from adwarm.model import ALL_ACCOUNTS, WEEKDAYS
from adwarm.patterns.hour_of_week import format_day, format_week, list_times
from adwarm.patterns.profile import AccessProfiles

_MAX_RANGES = 20


def describe_profile(profiles: AccessProfiles, account_id: str = ALL_ACCOUNTS) -> dict[str, Any]:
    """Return the profile of an account as plain values, ready for JSON, with its hours as text as well.

    Hours of the week run from 0, Monday 00:00 on the reader's clock, to 167; `weekday` has first opens per day.

    Raises:
        NotFound: the account was not opened.
    """
    profiles.require(account_id)
    account: Any = next(profiles.accounts.loc[[account_id]].itertuples())
    hours = profiles.hours.loc[account_id]
    by_day = hours["rate"].to_numpy().reshape(7, 24).sum(axis=1).round(3).tolist()
    return {
        "account_id": account_id,
        "first_opens": account.first_opens,
        "keys": account.keys,
        "since": account.since.to_pydatetime(),
        "until": profiles.until,
        "weeks": round(account.weeks, 2),
        "time_zones": account.time_zones,
        "hour_of_week": hours["opens"].tolist(),
        "observed": hours["observed"].round(3).tolist(),
        "rate": hours["rate"].round(4).tolist(),
        "active_weeks": hours["active_weeks"].tolist(),
        "weekday": by_day,
        "busy_hours": account.busy_hours,
        "peak_hours": account.peak_hours,
        "quiet_hours": account.quiet_hours,
        "popular_ranges": list_popular_ranges(account.ranges),
        "evidence": account.evidence,
        "weekdays": [
            {
                "weekday": name,
                "opens_per_day": by_day[day],
                "peak_hours": list_times(account.peak_hours, day),
                "quiet_hours": format_day(account.quiet_hours, day),
            }
            for day, name in enumerate(WEEKDAYS)
        ],
        "busy": format_week(account.busy_hours),
        "quiet": format_week(account.quiet_hours),
    }


def list_popular_ranges(ranges: Mapping[str, int]) -> list[dict[str, Any]]:
    """Return the most opened date ranges of an account with their share of its first opens."""
    total = sum(ranges.values())
    rows = islice(ranges.items(), _MAX_RANGES)
    return [{"date_range": name, "opens": opens, "share": round(opens / total, 4)} for name, opens in rows]


def describe_profiles(profiles: AccessProfiles, account_id: str = ALL_ACCOUNTS, limit: int = 20) -> dict[str, Any]:
    """Return the profile of an account, by default that of all with the most opened accounts, as plain values.

    Args:
        limit: accounts to list, at most; none are listed beside the profile of one account.

    Raises:
        NotFound: the account was not opened.
    """
    document = describe_profile(profiles, account_id)
    if account_id != ALL_ACCOUNTS:
        return {**document, "accounts": 1, "most_opened_accounts": []}
    accounts = profiles.accounts.drop(ALL_ACCOUNTS)
    most = accounts.sort_values("first_opens", ascending=False, kind="stable").index[:limit]
    names = ("account_id", "first_opens", "time_zones", "busy", "quiet", "evidence")
    rows = [{name: row[name] for name in names} for row in (describe_profile(profiles, name) for name in most)]
    return {**document, "accounts": len(accounts), "most_opened_accounts": rows}


def describe_zones(zones: dict[str, int], limit: int = 4) -> str:
    """Return reader zones with their share of the opens, the largest first: `Europe/Berlin 75 %, Asia/Tokyo 25 %`."""
    total = max(sum(zones.values()), 1)
    rest = len(zones) - limit
    names = [name if len(zones) == 1 else f"{name} {opens / total:.0%}" for name, opens in zones.items()]
    return ", ".join(names[:limit]) + (f" and {rest} more" if rest > 0 else "")


def describe_title(document: dict[str, Any]) -> str:
    """Return whose profile a document holds, how many first opens, and of which time."""
    whose = (
        document["account_id"] if document["account_id"] != ALL_ACCOUNTS else _count(document["accounts"], "account")
    )
    opens = _count(document["first_opens"], "first open")
    return f"{whose}: {opens} in {document['weeks']:.1f} weeks up to {document['until']:%Y-%m-%d %H:%M} UTC"


def heat_levels(rate: Sequence[float], levels: int) -> list[int]:
    """Return the level of each rate: 0 for none, then 1 to `levels` in equal steps up to the highest rate."""
    highest = max(rate, default=0.0)
    return [0 if value <= 0 else max(1, min(levels, -int(-value * levels // highest))) for value in rate]


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
