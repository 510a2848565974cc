"""The scores of the ads of a panel on all of its days, and their export as one day's scores."""

from collections.abc import Mapping
from dataclasses import dataclass
from datetime import date
from typing import Any, Final, get_args

import numpy as np
import numpy.typing as npt

from adwarm.fatigue.panel import CLICKS, LINK_CLICKS, AdPanel, FloatArray, round_figures
from adwarm.fatigue.trend import project
from adwarm.model import FatigueScore, FatigueStatus
from adwarm.model.fatigue_score import Component

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
        panel: the ads.
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
        listed = np.flatnonzero(self.is_listed[:, column])
        values = {name: array[listed, column].astype(np.float64) for name, array in self.figures.items()}
        projected = project(100 * values["loss"], values["trend"], values["trend_error"], self.limit)
        names = ("days_to_critical", "days_to_critical_low", "days_to_critical_high")
        values.update(zip(names, projected, strict=True))
        rows = zip(*(_to_json(array) for array in values.values()), strict=True)
        return [
            self._score(ad, column, day, dict(zip(values, row, strict=True)))
            for ad, row in zip(listed.tolist(), rows, strict=True)
        ]

    def _score(self, ad: int, column: int, day: date, value: Mapping[str, float | None]) -> FatigueScore:
        driver = int(self.driver[ad, column])
        return FatigueScore(
            account_id=self.panel.account_ids[ad],
            ad_id=self.panel.ad_ids[ad],
            as_of=day,
            ad_name=self.panel.name_at(ad, column),
            status=STATUSES[int(self.status[ad, column])],
            total=value["total"],
            loss=value["loss"],
            creative=value["creative"],
            audience=value["audience"],
            algorithm=value["algorithm"],
            data_quality=value["data_quality"] or 0.0,
            trend_per_day=value["trend"],
            days_to_critical=value["days_to_critical"],
            baseline=self._baseline(ad, column, value),
            calculator_version=self.calculator_version,
            driver=None if driver < 0 else COMPONENTS[driver],
            days_to_critical_low=value["days_to_critical_low"],
            days_to_critical_high=value["days_to_critical_high"],
            cost_ratio=value["cost_ratio"],
            recent_spend=value["recent_spend"],
        )

    def _baseline(self, ad: int, column: int, value: Mapping[str, float | None]) -> dict[str, Any]:
        bits = int(self.flags[ad, column])
        return {
            "ctr": value["ctr"],
            "cpm": value["cpm"],
            "clicks_from": CLICK_KINDS[int(self.clicks_from[ad, column])],
            "age_days": int(self.age_days[ad, column]),
            "days": int(self.baseline_days[ad, column]),
            "impressions": value["impressions"],
            "recent_ctr": value["recent_ctr"],
            "recent_cpm": value["recent_cpm"],
            "month_ctr": value["month_ctr"],
            "recent_impressions": value["recent_impressions"],
            "frequency": value["frequency"],
            "flags": [name for bit, name in enumerate(FLAGS) if bits >> bit & 1],
        }


def _to_json(values: FloatArray) -> list[float | None]:
    """Return numbers with six significant digits, None for nan."""
    numbers: list[float] = round_figures(values).tolist()
    return [None if number != number else number for number in numbers]
