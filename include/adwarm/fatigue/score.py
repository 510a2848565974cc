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

from collections.abc import Mapping, Sequence
from datetime import date, timedelta
from typing import Final

import numpy as np
import numpy.typing as npt

from adwarm.fatigue.panel import AdPanel, FloatArray, empty_figures, read_panel, round_figures
from adwarm.fatigue.prior import DEFAULT_PRIOR, AccountPrior, measure_priors
from adwarm.fatigue.score_block import ScoreBlock
from adwarm.fatigue.score_table import FIGURES, FLAGS, STATUSES, ScoreTable
from adwarm.fatigue.text_columns import InsightsRow, read_ad_key, read_frequencies
from adwarm.foundation.errors import BadRequest
from adwarm.model import ColumnTable, FatigueScore
from adwarm.settings import FatigueSettings

CALCULATOR_VERSION: Final = "canonical-5"
SCAN_DAYS: Final = 60
"""Days before the preceding month that scores of a month look back on; what is not stored of them is unknown."""
WARNING_FROM: Final = 0.15
"""Share of the clicks for the same money that is lost, from which an ad has the status `warning`."""
CRITICAL_FROM: Final = 0.35
NOTABLE_COMPONENT: Final = 30.0
"""A component up to this raises no score that is worth naming a cause of."""
_BLOCK_ADS: Final = 256
"""Ads that are calculated at a time: few enough that their arrays stay in the processor's cache."""
_PENDING: Final = STATUSES.index("pending")


def score_account(
    rows: Sequence[InsightsRow], range_rows: Sequence[InsightsRow], as_of: date, settings: FatigueSettings
) -> list[FatigueScore]:
    """Return the score of every ad with delivery in the days that the score uses, sorted by account and ad id.

    The prior of an account is measured on its rows before the month of `as_of`.

    Args:
        rows: one row per ad and day; a missing one is zero delivery.
        range_rows: one row per ad over the last seven days, for the frequency.
        as_of: the last day used, in the account's data zone.
        settings: weights, spans and minimums.

    Raises:
        BadRequest: a row cannot be read, or the weights are negative or all zero.
    """
    _check_weights(settings)
    by_account: dict[str, list[InsightsRow]] = {}
    for row in rows:
        by_account.setdefault(read_ad_key(row)[0], []).append(row)
    tables = {name: ColumnTable.from_rows([dict(row) for row in of_account]) for name, of_account in by_account.items()}
    month = as_of.replace(day=1)
    panel = read_panel(tables, month - timedelta(days=SCAN_DAYS), as_of)
    frequency = empty_figures(len(panel.ad_ids), panel.days)
    frequencies = read_frequencies(range_rows, as_of)
    for number, key in enumerate(zip(panel.account_ids, panel.ad_ids, strict=True)):
        frequency[number, -1] = frequencies.get(key, np.nan)
    return score_panel(panel, measure_priors(panel, month), frequency, settings).to_scores(as_of)


def find_bands(losses: FloatArray) -> npt.NDArray[np.int8]:
    """Return 0 (healthy), 1 (warning) or 2 (critical) for each share of clicks lost; 0 for an unknown one."""
    bands: npt.NDArray[np.int8] = (losses >= WARNING_FROM).astype(np.int8) + (losses >= CRITICAL_FROM)
    return bands


def score_panel(
    panel: AdPanel, priors: Mapping[str, AccountPrior], frequency: FloatArray, settings: FatigueSettings
) -> ScoreTable:
    """Return the scores of all ads on all days; a day's use that day and earlier ones only.

    Args:
        panel: daily figures; the first days have less history to look back on.
        priors: what is usual in each account, by account id; the default for those without.
        frequency: ads x days, impressions per person in the week that ends on each day; nan where unknown.
        settings: weights, spans and minimums.

    Raises:
        BadRequest: the weights are negative or all zero.
    """
    _check_weights(settings)
    shape = panel.impressions.shape
    table = ScoreTable(
        panel=panel,
        figures={name: np.full(shape, np.nan, np.float32) for name in FIGURES},
        status=np.full(shape, _PENDING, np.int8),
        driver=np.full(shape, -1, np.int8),
        is_listed=np.zeros(shape, bool),
        clicks_from=np.zeros(shape, np.int8),
        age_days=np.zeros(shape, np.int16),
        baseline_days=np.zeros(shape, np.int16),
        flags=np.zeros(shape, np.uint16),
        limit=100 * CRITICAL_FROM,
        calculator_version=CALCULATOR_VERSION,
    )
    for first in range(0, shape[0], _BLOCK_ADS):
        last = min(first + _BLOCK_ADS, shape[0])
        ads = panel.select_ads(first, last)
        of_ads = [priors.get(name, DEFAULT_PRIOR) for name in ads.account_ids]
        _write_block(ScoreBlock(ads, of_ads, frequency[first:last], settings), table, slice(first, last))
    return table


def _check_weights(settings: FatigueSettings) -> None:
    if min(settings.weights) < 0 or not sum(settings.weights):
        raise BadRequest("ADWARM_FATIGUE__WEIGHTS must be three numbers of 0 or more, and not all 0")


def _write_block(block: ScoreBlock, table: ScoreTable, rows: slice) -> None:
    """Write the results of a block to its rows of the table."""
    # With weights of zero, the only known components may count for nothing: such an ad is pending.
    creative, audience, algorithm = (np.where(np.isnan(block.total), np.nan, part) for part in block.components)
    trend, trend_error = block.measure_trend()
    listed = block.is_listed
    figures = {
        "total": block.total,
        "loss": np.where(np.isnan(block.total), np.nan, block.loss),
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
    for name, values in figures.items():
        table.figures[name][rows] = np.where(listed, values, np.nan)
    total = block.total
    table.status[rows] = np.where(np.isnan(total), _PENDING, find_bands(round_figures(block.loss)))
    table.driver[rows] = block.find_driver(NOTABLE_COMPONENT)
    table.is_listed[rows] = listed
    table.clicks_from[rows] = block.clicks_from
    table.age_days[rows] = block.age_days
    table.baseline_days[rows] = block.past.days
    for bit, flag in enumerate(FLAGS):
        table.flags[rows] |= np.left_shift(block.flags[flag].astype(np.uint16), np.uint16(bit))
