"""The canonical ad fatigue score: 0 is fresh, 100 is fatigued.

It has three components, each continuous and monotonic: creative (click-through rate lost against the ad's own good
weeks), audience (how often a person saw it), algorithm (increase of the price of a thousand impressions over its usual
weeks). The score orders ads and explains them. Their status is the band of what is lost: clicks for the same money,
from the click-through rate and the price, against the same weeks. Rates are shrunk with the noise that was measured in
the account, so that a few hundred impressions cannot give an extreme score. Without clicks an ad is pending; another
figure that the rows lack leaves its component out, is flagged, and lowers the data quality. See
docs/explanation/fatigue.md for each formula with its source.

The score states what the ad delivers against its own past. Moves that the whole account shares are part of it, and so
an ad's score does not depend on other ads but for the prior; `adwarm.fatigue.alarm` separates them.
"""

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, fields
from datetime import date, timedelta
from itertools import pairwise
from typing import Any, Final, get_args

import numpy as np
import numpy.typing as npt
import orjson

from adwarm.fatigue.alarm import AlarmTable
from adwarm.fatigue.panel import AdPanel, FloatArray, round_figures
from adwarm.fatigue.prior import DEFAULT_PRIOR, AccountPrior
from adwarm.fatigue.score_block import ScoreBlock
from adwarm.fatigue.usual import TREND_DAYS, project
from adwarm.foundation.errors import BadRequest
from adwarm.model import FatigueScore, FatigueStatus
from adwarm.model.fatigue_score import FLAGS, AlarmLevel, Component
from adwarm.settings import FatigueSettings

CALCULATOR_VERSION: Final = "canonical-6"
SCAN_DAYS: Final = 60
"""Days before the preceding month that scores of a month look back on; what is not stored of them is unknown."""
WARNING_FROM: Final = 0.15
"""Share of the clicks for the same money that is lost, from which an ad has the status `warning`."""
CRITICAL_FROM: Final = 0.35
_BLOCK_ADS: Final = 256
"""Ads that are calculated at a time: few enough that their arrays stay in the processor's cache."""
STATUSES: Final[tuple[FatigueStatus, ...]] = get_args(FatigueStatus)
"""By status code."""
_PENDING: Final = STATUSES.index("pending")
_DRIVERS: Final = (*get_args(Component), None)
_LEVELS: Final = get_args(AlarmLevel)
_PROJECTED: Final = ("days_to_critical", "days_to_critical_low", "days_to_critical_high")
_COMPARED: Final = ("recent_ctr", "recent_cpm", "month_ctr", "recent_impressions", "frequency")
_NAMES: Final = tuple(field.name for field in fields(FatigueScore))
_Indices = npt.NDArray[np.intp]


@dataclass(frozen=True, slots=True)
class ScoreTable:
    """The scores of ads x days.

    Attributes:
        figures: ads x days by name, nan where unknown: the scores and figures of `FatigueScore` and its `baseline`, and
            `trend_error`, the standard error of `trend`. They have the precision of 32 bits, which is seven digits;
            six are exported.
        codes: ads x days of whole numbers by name: `status`, index in `STATUSES`; `driver`, index of the component, -1
            for none; `age_days`, days with delivery that are used; `flags`, bits of `FLAGS`.
        is_listed: whether the ad has a score of that day, be it pending.
    """

    panel: AdPanel
    figures: dict[str, npt.NDArray[np.float32]]
    codes: dict[str, npt.NDArray[Any]]
    is_listed: npt.NDArray[np.bool_]


def find_bands(losses: FloatArray) -> npt.NDArray[np.int8]:
    """Return 0 (healthy), 1 (warning) or 2 (critical) for each share of clicks lost; 0 for an unknown one."""
    bands: npt.NDArray[np.int8] = (losses >= WARNING_FROM).astype(np.int8) + (losses >= CRITICAL_FROM)
    return bands


def score_panel(
    panel: AdPanel,
    priors: Mapping[str, AccountPrior],
    frequency: FloatArray,
    settings: FatigueSettings,
    since: int = 0,
) -> ScoreTable:
    """Return the scores of all ads; a day's use that day and earlier ones only.

    Args:
        panel: daily figures; the first days have less history to look back on.
        priors: what is usual in each account, by account id; the default for those without.
        frequency: ads x days, impressions per person in the week that ends on each day; nan where unknown.
        since: column of the first day to score; no ad is listed before it.

    Raises:
        BadRequest: the weights are negative or all zero.
    """
    _check_weights(settings)
    first_day = max(0, since - TREND_DAYS + 1)
    shape = panel.impressions.shape
    table = ScoreTable(panel, {}, {}, np.zeros(shape, bool))
    for first in range(0, max(1, shape[0]), _BLOCK_ADS):
        rows = slice(first, first + _BLOCK_ADS)
        ads = panel.select_ads(first, first + _BLOCK_ADS)
        of_ads = [priors.get(name, DEFAULT_PRIOR) for name in ads.account_ids]
        block = ScoreBlock(ads, of_ads, frequency[rows], settings, first_day)
        table.is_listed[rows, since:] = block.is_listed[:, since - first_day :]
        for name, values in _list_figures(block).items():
            if not first:
                table.figures[name] = np.full(shape, np.nan, np.float32)
            table.figures[name][rows, first_day:] = np.where(block.is_listed, values, np.nan)
        for name, numbers in _list_codes(block).items():
            if not first:
                table.codes[name] = np.zeros(shape, numbers.dtype)
            table.codes[name][rows, first_day:] = numbers
    return table


def _check_weights(settings: FatigueSettings) -> None:
    if min(settings.weights) < 0 or not sum(settings.weights):
        raise BadRequest("ADWARM_FATIGUE__WEIGHTS must be three numbers of 0 or more, and not all 0")


def _list_figures(block: ScoreBlock) -> dict[str, FloatArray]:
    """Return the figures of a block, see `ScoreTable`."""
    # With weights of zero, the only known components may count for nothing: such an ad is pending.
    is_pending = np.isnan(block.total)
    creative, audience, algorithm = (np.where(is_pending, np.nan, part) for part in block.components)
    trend, trend_error = block.measure_trend()
    return {
        "total": block.total,
        "loss": np.where(is_pending, np.nan, block.loss),
        "creative": creative,
        "audience": audience,
        "algorithm": algorithm,
        "data_quality": block.data_quality,
        "trend": trend,
        "trend_error": trend_error,
        "cost_ratio": block.cost_ratio,
        "recent_spend": block.recent_spend,
        "ctr": block.clicks.usual,
        "cpm": 1000 * block.price.usual,
        "recent_ctr": block.clicks.recent,
        "recent_cpm": 1000 * block.price.recent,
        "month_ctr": block.month_ctr,
        "impressions": block.past.impressions,
        "recent_impressions": block.recent.impressions,
        "frequency": block.frequency,
    }


def _list_codes(block: ScoreBlock) -> dict[str, npt.NDArray[Any]]:
    """Return the codes of a block, see `ScoreTable`."""
    bits = [block.flags[flag].astype(np.int16) << bit for bit, flag in enumerate(FLAGS)]
    return {
        "status": np.where(np.isnan(block.total), np.int8(_PENDING), find_bands(round_figures(block.loss))),
        "driver": block.find_driver().astype(np.int8),
        "age_days": block.age_days.astype(np.int16),
        "flags": np.bitwise_or.reduce(bits),
    }


def make_columns(
    table: ScoreTable,
    alarms: AlarmTable,
    days: Mapping[str, Iterable[date]],
    part_of: Mapping[str, Mapping[str, str]] | None = None,
) -> tuple[dict[str, list[Any]], dict[tuple[str, date], tuple[int, int]]]:
    """Return the scores of some accounts and days by column, sorted by account, day and ad, and where each day is.

    Args:
        alarms: the alarms of the same panel.
        days: by account id, the as-of days.
        part_of: by account and ad id, the keys of creatives; other ads are left out. None for scores of no part.

    Returns:
        The values of each field of `FatigueScore`, `baseline` as JSON text; and by account and day, the index of its
        first value and that after its last one.
    """
    panel = table.panel
    is_chosen = np.zeros(table.is_listed.shape, bool)
    for first, last in pairwise([*panel.account_starts.tolist(), len(panel.ad_ids)]):
        is_chosen[first:last, [panel.column(day) for day in days.get(panel.account_ids[first], ())]] = True
    keys = [""] * len(panel.ad_ids)
    if part_of is not None:
        keys = [part_of[name].get(ad_id, "") for name, ad_id in zip(panel.account_ids, panel.ad_ids, strict=True)]
        is_chosen &= np.array([bool(key) for key in keys], bool)[:, None]
    ads, columns = np.nonzero(table.is_listed & is_chosen)
    owners = np.searchsorted(panel.account_starts, ads, side="right")
    order = np.lexsort((ads, columns, owners))
    ads, columns = ads[order], columns[order]
    starts = np.flatnonzero(np.diff(owners[order] * panel.days + columns, prepend=-1)).tolist()
    spans = {}
    for first, last in pairwise([*starts, len(ads)]):
        day = panel.first_day + timedelta(days=int(columns[first]))
        spans[panel.account_ids[ads[first]], day] = first, last
    return {**_columns(table, alarms, ads, columns), "part_of": _decode(ads, keys)}, spans


def _columns(table: ScoreTable, alarms: AlarmTable, ads: _Indices, columns: _Indices) -> dict[str, list[Any]]:
    """Return the values of each field of `FatigueScore` for some cells of the tables."""
    panel = table.panel
    figures = {name: values[ads, columns].astype(np.float64) for name, values in table.figures.items()}
    codes = {name: values[ads, columns] for name, values in table.codes.items()}
    losses, limit = 100 * figures["loss"], 100 * CRITICAL_FROM
    figures |= dict(zip(_PROJECTED, project(losses, figures["trend"], figures["trend_error"], limit), strict=True))
    days = [*(panel.first_day + timedelta(days=number) for number in range(panel.days)), None]
    rounded = {name: round_figures(array) for name, array in figures.items()}
    values: dict[str, list[Any]] = {name: _to_numbers(rounded[name]) for name in rounded if name in _NAMES}
    values |= {
        "alarm": _decode(alarms.level[ads, columns], _LEVELS),
        "alarm_since": _decode(alarms.alarm_since[ads, columns], days),
        "onset": _decode(alarms.onset[ads, columns], days),
        "account_id": _decode(ads, panel.account_ids),
        "ad_id": _decode(ads, panel.ad_ids),
        "as_of": _decode(columns, days),
        "ad_name": [""] * len(ads) if panel.names is None else panel.names[ads, columns].tolist(),
        "status": _decode(codes["status"], STATUSES),
        "driver": _decode(codes["driver"], _DRIVERS),
        "data_quality": [value or 0.0 for value in values["data_quality"]],
        "trend_per_day": _to_numbers(rounded["trend"]),
        "baseline": _baselines(codes, rounded),
    }
    return {name: values[name] for name in _NAMES if name != "part_of"}


def _baselines(codes: Mapping[str, npt.NDArray[Any]], figures: Mapping[str, FloatArray]) -> list[str]:
    """Return the JSON texts of `FatigueScore.baseline`."""
    bits = codes["flags"]
    columns = {
        "ctr": figures["ctr"],
        "cpm": figures["cpm"],
        "age_days": codes["age_days"],
        "impressions": figures["impressions"],
        **{name: figures[name] for name in _COMPARED},
    }
    flags = {
        value: orjson.dumps([name for bit, name in enumerate(FLAGS) if value >> bit & 1]).decode()
        for value in np.unique(bits).tolist()
    }
    # Texts of whole columns take less time than a text of each row.
    dumped = (orjson.dumps(column, option=orjson.OPT_SERIALIZE_NUMPY) for column in columns.values())
    texts = [text.decode()[1:-1].split(",") for text in dumped]
    template = "{" + "".join(f'"{name}":%s,' for name in columns) + '"flags":%s}'
    return [template % row for row in zip(*texts, map(flags.get, bits.tolist()), strict=True)] if len(bits) else []


def _decode(codes: npt.NDArray[Any], meanings: Sequence[Any]) -> list[Any]:
    """Return the meaning of each code; -1 is the last one."""
    return [meanings[code] for code in codes.tolist()]


def _to_numbers(values: npt.NDArray[np.float64]) -> list[float | None]:
    """Return numbers, None for nan."""
    numbers: list[float | None] = values.tolist()
    for index in np.flatnonzero(np.isnan(values)).tolist():
        numbers[index] = None
    return numbers
