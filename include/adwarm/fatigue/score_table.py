"""The scores of the ads of a panel on all of its days, and their export as one day's scores."""

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from datetime import date, timedelta
from itertools import pairwise
from typing import Any, Final, get_args

import numpy as np
import numpy.typing as npt
import orjson

from adwarm.fatigue.alarm import AlarmTable
from adwarm.fatigue.curves import project
from adwarm.fatigue.panel import CLICKS, LINK_CLICKS, AdPanel, FloatArray, round_figures
from adwarm.model import FatigueScore, FatigueStatus
from adwarm.model.fatigue_score import AlarmLevel, Component

Float32Array = npt.NDArray[np.float32]

STATUSES: Final[tuple[FatigueStatus, ...]] = get_args(FatigueStatus)
"""By status code."""
COMPONENTS: Final[tuple[Component, ...]] = get_args(Component)
"""By driver code."""
CLICK_KINDS: Final = (None, CLICKS, LINK_CLICKS)
"""By clicks code."""
FLAGS: Final = (
    "audience_changed",
    "budget_changed",
    "clicks_missing",
    "ctr_implausible",
    "frequency_missing",
    "frequency_notable",
    "history_missing",
    "impressions_missing",
    "link_clicks_used",
    "spend_missing",
    "suspended",
)
"""By bit of the flags, from the lowest."""
FIGURES: Final = (
    "total",
    "loss",
    "creative",
    "audience",
    "algorithm",
    "data_quality",
    "trend",
    "trend_error",
    "cost_ratio",
    "recent_spend",
    "ctr",
    "cpm",
    "recent_ctr",
    "recent_cpm",
    "month_ctr",
    "impressions",
    "recent_impressions",
    "frequency",
)


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """The scores of ads x days. Unknown figures are nan.

    Attributes:
        figures: ads x days by name, see `FIGURES`: the scores and figures of `FatigueScore` and its `baseline`, and
            `trend_error`, the standard error of `trend`. They have the precision of 32 bits, which is seven digits;
            six are exported.
        status: index in `STATUSES`.
        driver: index in `COMPONENTS`; -1 for none.
        is_listed: whether the ad has a score of that day, be it pending.
        clicks_from: index in `CLICK_KINDS`.
        age_days: days with delivery that are used, the recent ones included.
        baseline_days: those before the recent ones.
        flags: bits, see `FLAGS`.
        limit: percentage of the clicks lost from which an ad is critical.
        calculator_version: of the scores.
    """

    panel: AdPanel
    figures: Mapping[str, Float32Array]
    status: npt.NDArray[np.int8]
    driver: npt.NDArray[np.int8]
    is_listed: npt.NDArray[np.bool_]
    clicks_from: npt.NDArray[np.int8]
    age_days: npt.NDArray[np.int16]
    baseline_days: npt.NDArray[np.int16]
    flags: npt.NDArray[np.uint16]
    limit: float
    calculator_version: str

    @property
    def total(self) -> Float32Array:
        """The score, 0 to 100; nan while pending."""
        return self.figures["total"]

    def days_to_critical(self) -> tuple[FloatArray, FloatArray, FloatArray]:
        """Return the projection of each day's total, and the ends of its 80 % interval; see `trend.project`."""
        losses, slopes, errors = (self.figures[name].astype(np.float64) for name in ("loss", "trend", "trend_error"))
        return project(100 * losses, slopes, errors, self.limit)

    def to_scores(self, day: date) -> list[FatigueScore]:
        """Return the scores of a day, sorted by account and ad; numbers have six significant digits."""
        column = self.panel.column(day)
        if not 0 <= column < self.panel.days:
            raise ValueError(f"the day {day} is not in the panel, {self.panel.first_day} to {self.panel.last_day}")
        columns = make_columns(self, None, {name: [day] for name in self.panel.account_ids}).columns
        rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
        return [FatigueScore(**{**row, "baseline": orjson.loads(row["baseline"])}) for row in rows]


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


def make_columns(table: ScoreTable, alarms: AlarmTable | None, days: Mapping[str, Iterable[date]]) -> ScoreColumns:
    """Return the scores of some accounts and days.

    Args:
        alarms: the alarms of the same panel; None for none.
        days: by account id, the as-of days.
    """
    panel = table.panel
    accounts = sorted(days)
    number_of = {account_id: number for number, account_id in enumerate(accounts)}
    owners = np.array([number_of.get(account_id, -1) for account_id in panel.account_ids], np.intp)
    is_requested = np.zeros((len(accounts), panel.days), bool)
    for account_id, listed in days.items():
        is_requested[number_of[account_id], [panel.column(day) for day in listed]] = True
    ads, columns = np.nonzero(table.is_listed & is_requested[owners] & (owners >= 0)[:, None])
    order = np.lexsort((ads, columns, owners[ads]))
    cells = _Cells(ads[order], columns[order])
    groups = owners[cells.ads] * panel.days + cells.columns
    starts = np.flatnonzero(np.diff(groups, prepend=-1)).tolist()
    spans = {}
    for first, last in pairwise([*starts, len(groups)]):
        day = panel.first_day + timedelta(days=int(cells.columns[first]))
        spans[panel.account_ids[cells.ads[first]], day] = first, last
    return ScoreColumns(_columns(table, alarms, cells), spans)


def _columns(table: ScoreTable, alarms: AlarmTable | None, cells: _Cells) -> dict[str, list[Any]]:
    panel = table.panel
    ads, columns = cells.ads.tolist(), cells.columns.tolist()
    figures = {name: cells.pick(values).astype(np.float64) for name, values in table.figures.items()}
    projected = project(100 * figures["loss"], figures["trend"], figures["trend_error"], table.limit)
    figures |= dict(zip(_PROJECTED, projected, strict=True))
    evidence = np.full(len(ads), np.nan) if alarms is None else cells.pick(alarms.evidence).astype(np.float64)
    figures["evidence"] = evidence
    values: dict[str, list[Any]] = {name: _to_numbers(array) for name, array in figures.items()}
    days = [panel.first_day + timedelta(days=number) for number in range(panel.days)]
    values |= {
        "account_id": [panel.account_ids[ad] for ad in ads],
        "ad_id": [panel.ad_ids[ad] for ad in ads],
        "as_of": [days[column] for column in columns],
        "ad_name": _names(table, ads, columns),
        "status": _decode(cells.pick(table.status), STATUSES),
        "driver": _decode(cells.pick(table.driver), (*COMPONENTS, None)),
        "alarm": ["none"] * len(ads) if alarms is None else _decode(cells.pick(alarms.level), LEVELS),
        "alarm_since": [None] * len(ads) if alarms is None else _decode(cells.pick(alarms.alarm_since), (*days, None)),
        "onset": [None] * len(ads) if alarms is None else _decode(cells.pick(alarms.onset), (*days, None)),
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
