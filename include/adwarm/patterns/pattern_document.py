"""Describes access patterns as one JSON document, which `adwarm patterns` prints as a table, a map or as it is."""

from collections.abc import Sequence
from dataclasses import asdict
from typing import Any

from adwarm.model import ALL_ACCOUNTS, WEEKDAYS, AccessProfile
from adwarm.patterns.hour_of_week import format_day, format_week, list_times
from adwarm.patterns.profile import AccessProfiles


def describe_profile(profile: AccessProfile) -> dict[str, Any]:
    """Return a profile as plain values, ready for JSON, with its hours as text as well."""
    days = [
        {
            "weekday": name,
            "opens_per_day": profile.weekday[day],
            "peak_hours": list_times(profile.peak_hours, day),
            "quiet_hours": format_day(profile.quiet_hours, day),
        }
        for day, name in enumerate(WEEKDAYS)
    ]
    ranges = [item._asdict() for item in profile.popular_ranges]
    text = {"busy": format_week(profile.busy_hours), "quiet": format_week(profile.quiet_hours)}
    return {**asdict(profile), "popular_ranges": ranges, "weekdays": days, **text}


def describe_profiles(profiles: AccessProfiles, account_id: str = ALL_ACCOUNTS, limit: int = 20) -> dict[str, Any]:
    """Return the profile of an account, by default that of all with the most opened accounts, as plain values.

    Args:
        limit: accounts to list, at most; none are listed beside the profile of one account.

    Raises:
        NotFound: the account was not opened.
    """
    document = describe_profile(profiles.get(account_id))
    if account_id != ALL_ACCOUNTS:
        return {**document, "accounts": 1, "most_opened_accounts": []}
    most = (-profiles.opens[1:].sum(axis=1)).argsort(kind="stable")[:limit] + 1
    rows = [_summarize(profiles.row(int(number))) for number in most]
    return {**document, "accounts": len(profiles.ids) - 1, "most_opened_accounts": rows}


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


def _summarize(profile: AccessProfile) -> dict[str, Any]:
    return {
        "account_id": profile.account_id,
        "first_opens": profile.first_opens,
        "time_zones": profile.time_zones,
        "busy": format_week(profile.busy_hours),
        "quiet": format_week(profile.quiet_hours),
        "evidence": profile.evidence,
    }


def _count(number: int, noun: str) -> str:
    return f"{number:,} {noun}{'' if number == 1 else 's'}"
