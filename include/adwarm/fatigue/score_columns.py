"""The scores and alarms of many ads and days as columns of the table of scores.

Building one object per score takes longer than computing the scores, so the figures stay arrays until they are stored.
The values are those of `ScoreTable.to_scores`.
"""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import date, timedelta
from itertools import pairwise
from typing import Any, Final, get_args

import numpy as np
import numpy.typing as npt
import orjson

from adwarm.fatigue.alarm import AlarmTable
from adwarm.fatigue.panel import round_figures
from adwarm.fatigue.score_table import CLICK_KINDS, COMPONENTS, FLAGS, STATUSES, ScoreTable
from adwarm.fatigue.trend import project
from adwarm.model import FatigueScore
from adwarm.model.fatigue_score import AlarmLevel

DayKey = tuple[str, date]
"""Account id and as-of day."""
LEVELS: Final[tuple[AlarmLevel, ...]] = get_args(AlarmLevel)
"""By level of an alarm."""
_PROJECTED: Final = ("days_to_critical", "days_to_critical_low", "days_to_critical_high")
_BASELINE_FIGURES: Final = ("recent_ctr", "recent_cpm", "month_ctr", "recent_impressions", "frequency")
_NAMES: Final = tuple(field.name for field in fields(FatigueScore))
_Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class _Cells:
    """The scores to store, sorted by account, day and ad."""

    ads: _Indices
    columns: _Indices

    def pick(self, values: npt.NDArray[Any]) -> npt.NDArray[Any]:
        """Return the values of the cells, of an array of ads x days."""
        picked: npt.NDArray[Any] = values[self.ads, self.columns]
        return picked


@dataclass(frozen=True, slots=True)
class ScoreColumns:
    """Scores by column.

    Attributes:
        columns: the values of each field of `FatigueScore`, `baseline` as JSON text, by account, day and ad.
        spans: by account and day, the index of its first value and that after its last one.
    """

    columns: Mapping[str, list[Any]]
    spans: Mapping[DayKey, tuple[int, int]]


def make_columns(table: ScoreTable, alarms: AlarmTable, days: Mapping[str, Iterable[date]]) -> ScoreColumns:
    """Return the scores of some accounts and days.

    Args:
        table: the scores.
        alarms: the alarms of the same panel.
        days: by account id, the as-of days.
    """
    panel = table.panel
    accounts = sorted(days)
    number_of = {account_id: number for number, account_id in enumerate(accounts)}
    owners = np.array([number_of.get(account_id, -1) for account_id in panel.account_ids], np.intp)
    wanted = np.zeros((len(accounts), panel.days), bool)
    for account_id, listed in days.items():
        wanted[number_of[account_id], [panel.column(day) for day in listed]] = True
    ads, columns = np.nonzero(table.is_listed & wanted[owners] & (owners >= 0)[:, None])
    order = np.lexsort((ads, columns, owners[ads]))
    cells = _Cells(ads[order], columns[order])
    groups = owners[cells.ads] * panel.days + cells.columns
    starts = np.flatnonzero(np.diff(groups, prepend=-1)).tolist()
    spans = {}
    for first, last in pairwise([*starts, len(groups)]):
        day = panel.first_day + timedelta(days=int(cells.columns[first]))
        spans[panel.account_ids[cells.ads[first]], day] = first, last
    return ScoreColumns(_columns(table, alarms, cells), spans)


def _columns(table: ScoreTable, alarms: AlarmTable, cells: _Cells) -> dict[str, list[Any]]:
    panel = table.panel
    ads, columns = cells.ads.tolist(), cells.columns.tolist()
    figures = {name: cells.pick(values).astype(np.float64) for name, values in table.figures.items()}
    projected = project(100 * figures["loss"], figures["trend"], figures["trend_error"], table.limit)
    figures |= dict(zip(_PROJECTED, projected, strict=True))
    figures["evidence"] = cells.pick(alarms.evidence).astype(np.float64)
    values: dict[str, list[Any]] = {name: _to_numbers(array) for name, array in figures.items()}
    days = [panel.first_day + timedelta(days=number) for number in range(panel.days)]
    values |= {
        "account_id": [panel.account_ids[ad] for ad in ads],
        "ad_id": [panel.ad_ids[ad] for ad in ads],
        "as_of": [days[column] for column in columns],
        "ad_name": _names(table, ads, columns),
        "status": _decode(cells.pick(table.status), STATUSES),
        "driver": _decode(cells.pick(table.driver), (*COMPONENTS, None)),
        "alarm": _decode(cells.pick(alarms.level), LEVELS),
        "alarm_since": _decode(cells.pick(alarms.alarm_since), (*days, None)),
        "onset": _decode(cells.pick(alarms.onset), (*days, None)),
        "data_quality": [value or 0.0 for value in values["data_quality"]],
        "trend_per_day": values["trend"],
        "baseline": _baselines(table, cells, values),
        "calculator_version": [table.calculator_version] * len(ads),
    }
    return {name: values[name] for name in _NAMES}


def _names(table: ScoreTable, ads: list[int], columns: list[int]) -> list[str]:
    panel = table.panel
    if not panel.names_by_column:
        return [panel.ad_names[ad] for ad in ads]
    return [panel.name_at(ad, column) for ad, column in zip(ads, columns, strict=True)]


def _baselines(table: ScoreTable, cells: _Cells, values: Mapping[str, list[Any]]) -> list[str]:
    """Return the JSON texts of `FatigueScore.baseline`."""
    bits = cells.pick(table.flags)
    flags = {int(value): [name for bit, name in enumerate(FLAGS) if int(value) >> bit & 1] for value in np.unique(bits)}
    columns = {
        "ctr": values["ctr"],
        "cpm": values["cpm"],
        "clicks_from": _decode(cells.pick(table.clicks_from), CLICK_KINDS),
        "age_days": cells.pick(table.age_days).tolist(),
        "days": cells.pick(table.baseline_days).tolist(),
        "impressions": values["impressions"],
        **{name: values[name] for name in _BASELINE_FIGURES},
        "flags": [flags[value] for value in bits.tolist()],
    }
    return [orjson.dumps(dict(zip(columns, row, strict=True))).decode() for row in zip(*columns.values(), strict=True)]


def _decode(codes: npt.NDArray[Any], meanings: tuple[Any, ...]) -> list[Any]:
    """Return the meaning of each code; -1 is the last one."""
    return [meanings[code] for code in codes.tolist()]


def _to_numbers(values: npt.NDArray[np.float64]) -> list[float | None]:
    """Return numbers with six significant digits, None for nan."""
    rounded = round_figures(values)
    numbers: list[float | None] = rounded.tolist()
    for index in np.flatnonzero(np.isnan(rounded)).tolist():
        numbers[index] = None
    return numbers
