"""Breakdowns, and what they cost: over 13 months back a broken-down question loses its count of people, silently.

The simulated audience is one group of people, so that a breakdown names the group and divides no figure.
"""

from collections.abc import Mapping, Sequence
from dataclasses import replace
from datetime import date

from graph_simulator.date_ranges import months_before
from graph_simulator.errors import bad_parameter
from graph_simulator.parameter_values import word_list
from graph_simulator.query import Query

REACH_MONTHS = 13
REACH_REPORTS_A_DAY = 10
_OF_PEOPLE = frozenset({"reach", "frequency", "cpp"})
_GROUP = {
    "age": "25-34",
    "gender": "female",
    "country": "US",
    "region": "California",
    "comscore_market": "Los Angeles",
    "publisher_platform": "facebook",
    "platform_position": "feed",
    "device_platform": "mobile_app",
    "impression_device": "iphone",
}


def group_of(params: Mapping[str, str]) -> dict[str, str]:
    """Return the fields that the breakdowns of a question add to each row.

    Raises:
        GraphError: there is no such breakdown, or no longer.
    """
    wanted = word_list(params.get("breakdowns", ""), "breakdowns")
    unknown = [name for name in wanted if name not in _GROUP]
    if unknown:
        raise bad_parameter(f"breakdowns must be one of the following values: {', '.join(_GROUP)}; not {unknown[0]}")
    return {name: _GROUP[name] for name in wanted}


def asks_too_far_back(query: Query, today: date) -> bool:
    """Whether a broken-down question asks for people over days that are too long ago."""
    oldest = min(window.since for window in query.windows)
    return bool(query.group) and oldest < months_before(today, REACH_MONTHS) and bool(_OF_PEOPLE & set(query.fields))


def without_people(query: Query) -> Query:
    """Return the question without the fields that count people."""

    def left(names: Sequence[str]) -> tuple[str, ...]:
        return tuple(name for name in names if name not in _OF_PEOPLE)

    summary = None if query.summary is None else left(query.summary)
    return replace(query, fields=left(query.fields), summary=summary)


def grouped(rows: Sequence[dict[str, object]], group: Mapping[str, str]) -> list[dict[str, object]]:
    """Return rows with the fields of their group."""
    return [{**row, **group} for row in rows]
