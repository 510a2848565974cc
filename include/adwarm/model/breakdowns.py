"""Breakdowns of a report: what its rows are divided by, in which combinations, and into how many groups.

The combinations are of the platform's table *Combining breakdowns*, and `impression_device` alone, which it answers as
well. The platform has more breakdowns, such as `device_platform`; a report with any other is refused before a call.
`breakdowns` divide rows, so their values are a part of a row's identity. `action_breakdowns` divide the items of lists
of actions within a row. What a report counts by the hour has no people: reach, frequency and unique figures.
"""

from collections.abc import Iterable, Sequence
from typing import Final

HOURLY: Final = "hourly_stats_aggregated_by_advertiser_time_zone"
TYPICAL_GROUPS: Final = {
    "age": 6,
    "gender": 3,
    "country": 4,
    "region": 30,
    "publisher_platform": 4,
    "platform_position": 4,
    "impression_device": 4,
    "product_id": 20,
    HOURLY: 20,
}
"""The breakdowns, with the groups that an object usually has on a day; of a position, on each of its platforms."""
BREAKDOWNS: Final = tuple(TYPICAL_GROUPS)
"""In the order in which rows are sorted by them."""
ACTION_BREAKDOWNS: Final = (
    "action_type",
    "action_target_id",
    "action_destination",
    "action_device",
    "action_reaction",
    "action_carousel_card_id",
    "action_carousel_card_name",
)
_JOINED: Final = frozenset(ACTION_BREAKDOWNS[:3])
"""Action breakdowns that join every combination that is not an exception."""
_CARD: Final = ACTION_BREAKDOWNS[5:]
_PLATFORM: Final = ("publisher_platform",)
_PLACEMENTS: Final = (
    _PLATFORM,
    (*_PLATFORM, "impression_device"),
    (*_PLATFORM, "platform_position"),
    (*_PLATFORM, "platform_position", "impression_device"),
)
_PEOPLE: Final = (("age",), ("gender",), ("age", "gender"))
_DEVICE: Final = ("impression_device",)
_ALONE: Final = (*_PEOPLE, ("country",), ("region",), *_PLACEMENTS, _DEVICE, ("product_id",), (HOURLY,))
_WITH_DEVICE: Final = ((), _DEVICE, *_PLACEMENTS)
_WITH_CARD: Final = ((), _DEVICE, ("country",), *_PEOPLE)
_COMBINATIONS: Final[tuple[tuple[tuple[str, ...], tuple[str, ...], bool], ...]] = (
    *((names, (), True) for names in ((), *_ALONE)),
    *((names, ("action_device",), True) for names in _WITH_DEVICE),
    ((), ("action_reaction",), False),
    ((), ("action_type", "action_reaction"), False),
    *((names, cards, False) for cards in (_CARD[:1], _CARD[1:], _CARD) for names in _WITH_CARD),
)
"""Breakdowns, action breakdowns, and whether `_JOINED` may be added to the latter."""


def check_breakdowns(breakdowns: Sequence[str], action_breakdowns: Sequence[str], fields: Iterable[str]) -> None:
    """Check that adwarm has reports with these breakdowns.

    Args:
        fields: the report's fields.

    Raises:
        ValueError: it has not; the message names those that it has.
    """
    actions = set(action_breakdowns)
    if not any(
        sorted(breakdowns) == sorted(rows) and (actions - _JOINED if joins else actions) == set(items)
        for rows, items, joins in _COMBINATIONS
    ):
        raise ValueError(
            f"adwarm has no reports by {_join([*breakdowns, *action_breakdowns])}; breakdowns are "
            f"{'; '.join(map(_join, _ALONE))}; action breakdowns are {_join(sorted(_JOINED))} with each of these, "
            f"action_device with {'; '.join(map(_join, _WITH_DEVICE[1:]))} or none, action_reaction with none, "
            f"and a carousel card with {'; '.join(map(_join, _WITH_CARD[1:]))} or none"
        )
    uncounted = [name for name in fields if not is_counted(name, breakdowns)]
    if uncounted:
        raise ValueError(
            f"the platform does not count {', '.join(uncounted)} by the hour; leave them out of the fields"
        )


def is_counted(field: str, breakdowns: Sequence[str]) -> bool:
    """Whether the platform counts a field in groups: by the hour it counts neither people nor plays of videos."""
    is_of_people = field in {"reach", "frequency", "cpp"} or "unique_" in field
    return HOURLY not in breakdowns or not (is_of_people or field.startswith("video_"))


def adds_up(breakdowns: Sequence[str]) -> bool:
    """Whether groups add up to the rows without breakdowns: an ad without a catalog has no product, others several."""
    return "product_id" not in breakdowns


def count_groups(breakdowns: Iterable[str]) -> int:
    """Return into how many rows breakdowns usually divide the row of an object and day; 1 without any."""
    groups = 1
    for name in breakdowns:
        groups *= TYPICAL_GROUPS[name]
    return groups


def _join(names: Sequence[str]) -> str:
    return " + ".join(names)
