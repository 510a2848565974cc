"""Reduces the forecast on public holidays by as much as earlier holidays of the same country in the log were quieter.

The country is the one that a user has set for the account. Else it follows from the reader's zone, also under its old
names, which browsers report (`Asia/Calcutta`). A zone without a country (`UTC`), or whose country has no calendar, has
no holidays. Where readers come on holidays as on any day, nothing changes.
"""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import date, datetime
from functools import lru_cache
from importlib.resources import files

import holidays
import numpy as np

from adwarm.forecast.features.grid import SLOTS_PER_DAY, OpenGrid
from adwarm.foundation.arrow_arrays import Bools, Floats, Ints
from adwarm.foundation.clock import utc
from adwarm.foundation.errors import BadRequest
from adwarm.foundation.local_time import zone

_EPOCH = date(1970, 1, 1).toordinal()
_PRIOR_DAYS, _PRIOR_OPENS = 0.5, 5.0
"""Usual days, and first opens, that the prior of an ordinary day is worth."""
_CLOCK_CHANGE = 4
_CODE_LENGTH = 2
_ACROSS_BORDERS = {
    "Africa/Asmera": "ER",
    "Africa/Timbuktu": "ML",
    "America/Coral_Harbour": "CA",
    "America/Virgin": "VI",
    "Antarctica/South_Pole": "AQ",
    "Atlantic/Jan_Mayen": "SJ",
    "Iceland": "IS",
    "Pacific/Ponape": "FM",
    "Pacific/Truk": "FM",
    "Pacific/Yap": "FM",
}
"""Names that the database links to a zone of another country because the clocks agree."""
_ABBREVIATIONS = frozenset({
    "CET",
    "CST6CDT",
    "EET",
    "EST",
    "EST5EDT",
    "HST",
    "MET",
    "MST",
    "MST7MDT",
    "PST8PDT",
    "WET",
})
"""Clocks that several countries share, so that the country is unknown, even where a database links them to a place."""


@dataclass(frozen=True)
class HolidayEffect:
    """The share of a usual day's first opens that is left on a public holiday.

    Attributes:
        by_country: ISO code to a share, 0 to 1. Countries without a holiday in the training data are left out; their
            holidays count as usual days.
    """

    by_country: dict[str, float] = field(default_factory=dict)

    @classmethod
    def fit(cls, grid: OpenGrid) -> "HolidayEffect":
        """Return the effect of the holidays in the grid, against the median of the same weekday in other weeks."""
        days_by_country: dict[str, list[tuple[float, float]]] = {}
        for index, country, keys in _groups(grid):
            days_by_country.setdefault(country, []).extend(_compare_with_usual(grid, index, country, keys))
        return cls({country: _share(days) for country, days in sorted(days_by_country.items()) if days})

    def get_shares(self, grid: OpenGrid, key: Ints, column: Ints) -> Floats:
        """Return the share per pair of key and column; 1 where the reader's day is not a holiday."""
        result = np.ones(len(key))
        day = grid.local_day(key, column)
        for _, country, keys in _groups(grid):
            if country in self.by_country:
                pairs = np.flatnonzero(keys[key])
                result[pairs[np.isin(day[pairs], days_off(country, day[pairs]))]] = self.by_country[country]
        return result

    def get_share(self, zone_name: str, moment: datetime, own_country: str = "") -> float:
        """Return the share at a moment in a reader's zone; 1 when it is not a holiday there.

        Args:
            own_country: the country of the account's holidays, when it is not that of the zone.
        """
        country = own_country or country_of(zone_name)
        if country not in self.by_country:
            return 1.0
        day = np.array([utc(moment).astimezone(zone(zone_name)).toordinal() - _EPOCH])
        return self.by_country[country] if day[0] in days_off(country, day) else 1.0


def country_of(zone_name: str) -> str:
    """Return the ISO code of an IANA zone's country, empty when it has none."""
    return _countries().get(zone_name, "")


def check_country(code: str) -> str:
    """Return the ISO code of a country whose holidays are known, in capitals.

    Raises:
        BadRequest: there is no such country, or no calendar for it.
    """
    country = code.strip().upper()
    if len(country) != _CODE_LENGTH or country not in holidays.list_supported_countries(include_aliases=False):
        raise BadRequest(
            f"no holidays are known for country {code[:20]!r}; write a code of two letters such as DE, US or BR"
        )
    return country


def days_off(country: str, days: Ints) -> Ints:
    """Return the public holidays of the years that `days` lie in; both count days since 1970."""
    if not len(days):
        return np.zeros(0, np.int64)
    first, last = (date.fromordinal(_EPOCH + int(day)).year for day in (days.min(), days.max()))
    holiday_days = [day for year in range(first, last + 1) for day in _holidays(country, year)]
    return np.array(holiday_days, np.int64)


def _groups(grid: OpenGrid) -> Iterator[tuple[int, str, Bools]]:
    """Yield zone index, holiday country and the mask of the keys that have both; others are left out."""
    own = grid.own_country.astype(str)
    for index, name in enumerate(grid.zones):
        in_zone = grid.zone_of == index
        for text in np.unique(own[in_zone]).tolist():
            if country := text or country_of(name):
                yield index, country, in_zone & (own == text)


def _share(days: list[tuple[float, float]]) -> float:
    """Return opens divided by usual opens, shrunk towards 1 because one quiet holiday is little evidence."""
    opens, usual = sum(opens for opens, _ in days), sum(usual for _, usual in days)
    prior = _PRIOR_DAYS * usual / len(days) + _PRIOR_OPENS
    return min((opens + prior) / (usual + prior), 1.0)


def _compare_with_usual(grid: OpenGrid, zone_index: int, country: str, keys: Bools) -> Iterator[tuple[float, float]]:
    """Yield first opens and usual first opens of each holiday in the grid, over some keys of one zone."""
    opens = np.diff(grid.firsts[keys].sum(axis=0, dtype=np.int64))
    column = np.arange(grid.column_count)
    day = (column + grid.origin + grid.offset[zone_index, : grid.column_count]) // SLOTS_PER_DAY
    if not len(day):
        return
    size = np.bincount(day - day[0])
    total = np.bincount(day - day[0], opens)
    whole = size >= SLOTS_PER_DAY - _CLOCK_CHANGE
    off = np.isin(np.arange(len(size)) + day[0], days_off(country, day))
    for at in np.flatnonzero(off & whole).tolist():
        others = np.arange(at % 7, len(size), 7)
        others = others[whole[others] & ~off[others]]
        if len(others):
            yield float(total[at]), float(np.median(total[others]))


@lru_cache(maxsize=512)
def _holidays(country: str, year: int) -> tuple[int, ...]:
    try:
        calendar = holidays.country_holidays(country, years=year)
    except NotImplementedError:
        return ()
    return tuple(sorted(day.toordinal() - _EPOCH for day in calendar))


@lru_cache(maxsize=1)
def _countries() -> dict[str, str]:
    """Return the country of each zone in the time zone database, old names of zones included."""
    rows = (line.split("\t") for line in _database("zone.tab") if not line.startswith("#"))
    listed = {row[2]: row[0] for row in rows}
    countries = dict(listed)
    # A link reads `L target name`; a target may be a link itself.
    links = {name: target for _, target, name in map(str.split, _database("tzdata.zi", "L "))}
    for name in links.keys() - listed.keys() - _ABBREVIATIONS:
        target = links[name]
        while target not in listed and target in links:
            target = links[target]
        if country := _ACROSS_BORDERS.get(name) or listed.get(target):
            countries[name] = country
    return countries


def _database(name: str, start: str = "") -> list[str]:
    text = files("tzdata.zoneinfo").joinpath(name).read_text(encoding="utf-8")
    return [line for line in text.splitlines() if line and line.startswith(start)]
