"""What the tables beside a loader's rows tell: the newest version of each object, and which loads were completed."""

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

from adwarm.sources.daily import DailyRow, load_sort_key
from adwarm.sources.formats import format_id, is_absent
from adwarm.sources.layouts import LoadsTable, LookupTable


def newest_versions(rows: Iterable[Mapping[str, Any]], side: LookupTable) -> dict[str, dict[str, str]]:
    """Return what a side table tells of each object in its newest version, by the object's id."""
    newest: dict[str, tuple[list[Any], Mapping[str, Any]]] = {}
    for row in rows:
        order = [(0, "") if is_absent(row.get(name)) else load_sort_key(row[name]) for name in side.version_columns]
        key = format_id(row[side.key])
        if key not in newest or order >= newest[key][0]:
            newest[key] = order, row
    return {
        key: {name: format_id(row[own]) for name, own in side.fields.items() if not is_absent(row.get(own))}
        for key, (_, row) in newest.items()
    }


def select_lookups(lookups: Sequence[LookupTable], field_names: Iterable[str]) -> list[tuple[LookupTable, list[str]]]:
    """Return the side tables that supply the wanted fields, each with those it is for, in the order to ask them."""
    fields = set(field_names)
    for side in reversed(lookups):
        if fields & set(side.fields):
            fields.add(side.row_field)
    found = [(side, [name for name in side.fields if name in fields]) for side in lookups]
    return [(side, names) for side, names in found if names]


def keep_completed_loads(
    found: Iterable[DailyRow], listed: Iterable[Mapping[str, Any]], loads: LoadsTable
) -> list[DailyRow]:
    """Return the rows without those of a load that was not completed.

    A load from before the first one that is listed was struck off the list, and is trusted.
    """
    states = {load_sort_key(load[loads.key]): load.get(loads.status) for load in listed}
    first = min(states, default=None)
    return [
        daily
        for daily in found
        if first is None or (order := load_sort_key(daily.load_marker)) < first or states.get(order) == loads.completed
    ]
