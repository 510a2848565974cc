"""Missing data: what could not be read, how it is described in an entry, and how older rows fill the gap.

A description is stored with each day and entry, one part per missing thing: `ad 123: reason; field reach: reason`. With
breakdowns, what the groups of a day lack is named by `groups total` and `groups unclear`; `zone UTC: reason` names the
former time zone of a day (`adwarm.store.zone_changes`).
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Final

from adwarm.model import Row, Window
from adwarm.model.keys import row_key
from adwarm.sources.protocol import FetchUnit
from adwarm.sources.units import exclude_objects, restrict_to_objects, with_fields

_OBJECT = re.compile(r"(?:^|; )(campaign|adset|ad) (\d+): ")
_SEPARATOR = re.compile(r"; (?=(?:campaign|adset|ad|field|zone) [\w/+-]+: |groups )")
GROUPS: Final = "groups"
"""`MissingData.level` of what the groups of a report with breakdowns lack, which no older row fills."""


@dataclass(frozen=True, slots=True)
class MissingData:
    """Something that could not be read: an object, a field of all objects, or groups.

    Attributes:
        level: `campaign`, `adset`, `ad`, `field`, or `GROUPS`.
        id: the object's id, the field's name, or what is wrong with the groups.
        windows: where it is missing; empty when it is known from an earlier fetch and has to be tried again.
    """

    level: str
    id: str
    windows: tuple[Window, ...]
    reason: str

    def __str__(self) -> str:
        return f"{self.level} {self.id}: {self.reason}"

    @classmethod
    def parse_objects(cls, text: str) -> "list[MissingData]":
        """Return the objects named in a stored description, without windows: they have to be tried again."""
        return [cls(match[1], match[2], (), "") for match in _OBJECT.finditer(text)]

    def covers(self, unit: FetchUnit) -> bool:
        """Whether every window of `unit` is inside one of `windows`."""
        return bool(self.windows) and all(
            any(_contains(own, window) for own in self.windows) for window in unit.windows
        )


def exclude_missing(
    unit: FetchUnit, missing: Sequence[MissingData]
) -> tuple[FetchUnit, list[FetchUnit], list[MissingData]]:
    """Return `unit` without what cannot be read, units that try it separately, and what is certainly missing."""
    fields = {gap.id: gap for gap in missing if gap.level == "field" and gap.id in unit.spec.fields}
    certain = [replace(gap, windows=unit.windows) for gap in fields.values()]
    if fields:
        unit = with_fields(unit, [name for name in unit.spec.fields if name not in fields])
    excluded = {item for name, how, ids in unit.filters if how == "NOT_IN" for item in ids.split(",")}
    unreadable = {gap.id for gap in missing if gap.level == unit.spec.level} - excluded
    if not unreadable:
        return unit, [], certain
    covered = {gap.id: gap for gap in missing if gap.id in unreadable and gap.covers(unit)}
    isolated = [restrict_to_objects(unit, unit.spec.level, [name]) for name in sorted(unreadable - set(covered))]
    return exclude_objects(unit, unreadable), isolated, [*certain, *covered.values()]


def fill_gaps(
    rows: Sequence[Row], missing: Sequence[MissingData], older: Iterable[Row], identity: Sequence[str]
) -> list[Row]:
    """Return `rows`, plus older rows of missing objects and older values of missing fields.

    Good data is never replaced by missing data. Rows that were read keep all the values they have.
    """
    if not missing:
        return list(rows)
    identity = [name for name in identity if name != "account_id"]  # all are of one, which documents name in full
    filled = {row_key(row, identity): row for row in rows}
    for row in older:
        key = row_key(row, identity)
        for gap in missing:
            if not _is_affected(row, gap):
                continue
            if gap.level != "field":
                filled.setdefault(key, row)
            elif gap.id in row and gap.id not in filled.get(key, row):
                filled[key] = {**filled[key], gap.id: row[gap.id]}
    return list(filled.values())


def describe_missing(missing: Iterable[MissingData], window: Window) -> str | None:
    """Return a description of what is missing in `window`; None when nothing is."""
    return join_unique(str(gap) for gap in missing if any(_overlap(window, other) for other in gap.windows))


def join_unique(texts: Iterable[str]) -> str | None:
    """Return several descriptions as one that names each missing thing once, with the first of its reasons."""
    by_name: dict[str, str] = {}
    for part in (part for text in texts for part in split_description(text)):
        by_name.setdefault(part.partition(": ")[0], part)
    return "; ".join(by_name[name] for name in sorted(by_name)) or None


def name_short_days(missing: str, days: Sequence[date]) -> str:
    """Return a description that names the days whose groups do not add up, of which it has the first day's reason."""
    if not days:
        return missing
    several = f"{len(days)} days from {days[0]} to {days[-1]}, on the first of them"
    return missing.replace(f"{GROUPS} total: ", f"{GROUPS} of {several if len(days) > 1 else days[0]}: ", 1)


def split_description(text: str) -> list[str]:
    """Return the parts of a description, one for each missing thing."""
    return _SEPARATOR.split(text)


def _is_affected(row: Row, gap: MissingData) -> bool:
    since, until = date.fromisoformat(str(row["date_start"])), date.fromisoformat(str(row["date_stop"]))
    inside = any(window.since <= since and until <= window.until for window in gap.windows)
    return inside and (gap.level == "field" or str(row.get(f"{gap.level}_id")) == gap.id)


def _overlap(one: Window, other: Window) -> bool:
    return one.since <= other.until and other.since <= one.until


def _contains(outer: Window, inner: Window) -> bool:
    return outer.since <= inner.since and inner.until <= outer.until
