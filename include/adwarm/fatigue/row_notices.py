"""Takes the platform's fatigue level from stored rows, when a report asks for a field that has it.

The platform lists `creative_fatigue_summary` among the fields of insights and does not document what is in it. So a
level is taken where one is recognizable: a field or a member whose name ends in `level` and whose value is LOW, MEDIUM
or HIGH. Anything else is left alone.
"""

from collections.abc import Iterable, Iterator, Mapping, Sequence
from datetime import UTC, date, datetime, time, timedelta
from typing import Any, Final

import orjson

from adwarm.fatigue.notice_formats import parse_level
from adwarm.foundation.errors import BadRequest, Corrupt, NotFound, TooMuchData
from adwarm.model import PLATFORM_LEVELS, PlatformLevel, PlatformNotice, Row, Window
from adwarm.store import Context, partitions, platform_fatigue
from adwarm.store.partition_rows import daily_rows

LEVEL_FIELDS: Final = ("creative_fatigue_level", "creative_fatigue_summary")
"""Fields of insights in which a level may be, the clearest first."""


def save_row_notices(context: Context, pairs: Sequence[tuple[str, date]], now: datetime) -> list[str]:
    """Store the levels in the stored rows of accounts and days as notices; return a message per day that is damaged.

    Does nothing unless the report `default` asks for one of `LEVEL_FIELDS`, which it does not by itself.
    """
    spec = context.settings.spec("default")
    errors: list[str] = []
    if not any(name in spec.fields for name in LEVEL_FIELDS):
        return errors
    for account_id, day in pairs:
        window = Window(day, day)
        states = partitions.list_states(context.engine, account_id, spec.hash, window)
        try:
            rows = daily_rows(context.objects, states, window)
        except (Corrupt, NotFound, TooMuchData) as error:
            errors.append(f"{account_id} {day}: the platform's fatigue levels could not be read: {error}")
            continue
        platform_fatigue.insert_notices(context.engine, list(read_row_notices(rows, account_id, day)), now)
    return errors


def read_row_notices(rows: Iterable[Row], account_id: str, day: date) -> Iterator[PlatformNotice]:
    """Yield a notice for each row with a level; its time is the end of the day in UTC."""
    at = datetime.combine(day + timedelta(days=1), time(), UTC)
    for row in rows:
        level = next((found for name in LEVEL_FIELDS if (found := _find_level(row.get(name), name))), None)
        if level is not None:
            yield PlatformNotice(account_id, str(row["ad_id"]), at, level, None, "rows")


def _find_level(value: Any, name: str) -> PlatformLevel | None:
    """Return the highest level in a value, at most two members deep; None without one."""
    levels = list(_list_levels(_parse(value), name, 2))
    return max(levels, key=PLATFORM_LEVELS.index, default=None)


def _list_levels(value: Any, name: str, depth: int) -> Iterator[PlatformLevel]:
    if isinstance(value, str) and name.endswith("level"):
        try:
            yield parse_level(value)
        except BadRequest:
            return  # another word, about which nothing is known
    elif isinstance(value, Mapping) and depth:
        for member, inner in value.items():
            yield from _list_levels(inner, str(member), depth - 1)
    elif isinstance(value, list):
        for item in value:
            if isinstance(item, Mapping):
                yield from _list_levels(item, name, depth)


def _parse(value: Any) -> Any:
    """Return a value that is JSON in text as what it says; sources keep nested values of unknown fields as text."""
    if not isinstance(value, str) or value[:1] not in {"[", "{"}:
        return value
    try:
        return orjson.loads(value)
    except ValueError:
        return None
