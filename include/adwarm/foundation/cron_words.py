"""Cron expressions in words, for the usual ones; others are shown as they are written."""

import re
from typing import Final

_ALIASES: Final = {
    "@hourly": "0 * * * *",
    "@daily": "0 0 * * *",
    "@midnight": "0 0 * * *",
    "@weekly": "0 0 * * sun",
    "@monthly": "0 0 1 * *",
}
_DAYS: Final = ("Sunday", "Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday")
_SHORT: Final = {name[:3].lower(): place for place, name in enumerate(_DAYS)}
_NUMBER: Final = re.compile(r"\d{1,2}")
_STEP: Final = re.compile(r"\*/(\d{1,2})")


def describe_cron(expression: str) -> str:
    """Return a cron expression in words, such as `Monday to Friday at 07:00`.

    Args:
        expression: a valid expression; the words name no time zone.

    Returns:
        Words, or ``the cron times `...` `` for an expression that has no short ones.
    """
    fields = _ALIASES.get(expression, expression).lower().split()
    if len(fields) == 5 and fields[3] == "*":
        days, times = _describe_days(fields[2], fields[4]), _describe_times(fields[0], fields[1])
        if days is not None and times is not None:
            return f"{days} {times}" if times.startswith("at ") or days != "every day" else times
    return f"the cron times `{expression}`"


def _describe_days(day: str, weekday: str) -> str | None:
    if day == "*" and weekday == "*":
        return "every day"
    if day == "*":
        return _describe_weekdays(weekday)
    if weekday == "*" and _NUMBER.fullmatch(day):
        return f"on day {int(day)} of each month"
    return None


def _describe_weekdays(text: str) -> str | None:
    names = []
    for part in text.split(","):
        ends = [_find_weekday(end) for end in part.split("-")]
        if len(ends) > 2 or None in ends:
            return None
        names.append(" to ".join(_DAYS[end] for end in ends if end is not None))
    return ", ".join(names)


def _find_weekday(text: str) -> int | None:
    if _NUMBER.fullmatch(text):
        return int(text) % 7 if int(text) <= 7 else None
    return _SHORT.get(text)


def _describe_times(minute: str, hour: str) -> str | None:
    if step := _STEP.fullmatch(minute):
        every = f"every {int(step[1])} minutes"
        return every if hour == "*" and 60 % max(1, int(step[1])) == 0 else None
    if not _NUMBER.fullmatch(minute):
        return None
    past = "" if int(minute) == 0 else f", {int(minute)} minutes past the hour"
    if hour == "*":
        return f"every hour{past}"
    if step := _STEP.fullmatch(hour):
        return f"every {int(step[1])} hours from midnight{past}" if 24 % max(1, int(step[1])) == 0 else None
    hours = hour.split(",")
    if not all(_NUMBER.fullmatch(text) for text in hours):
        return None
    return "at " + ", ".join(f"{int(text):02}:{int(minute):02}" for text in hours)
