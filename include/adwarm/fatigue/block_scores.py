"""Computes the scores of a block of accounts: their days are read once, and each month is one scan.

Nothing that an account gets depends on the other accounts of the block, nor on days after the scored one.
"""

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import date, datetime
from itertools import pairwise
from typing import Final

import numpy as np

from adwarm.fatigue.account_inputs import BlockInputs
from adwarm.fatigue.alarm import EarlierPriors, detect
from adwarm.fatigue.as_of import AccountWork, PriorInputs, month_before, month_of, prior_window, scan_start
from adwarm.fatigue.panel import FIELDS, AdPanel, FloatArray, cut_panel, empty_figures
from adwarm.fatigue.panel_rows import AccountRows, parse_rows
from adwarm.fatigue.prior import DEFAULT_PRIOR, AccountPrior, measure_priors
from adwarm.fatigue.score import CALCULATOR_VERSION, score_panel
from adwarm.fatigue.score_columns import make_columns
from adwarm.foundation.errors import AdwarmError, BadRequest, Corrupt, NotFound, TooMuchData
from adwarm.model import Window
from adwarm.store import fatigue_days
from adwarm.store.fatigue_days import MonthKey, StoredPrior
from adwarm.store.partition_rows import daily_texts
from adwarm.store.scores import DayScores

DAMAGE: Final = (Corrupt, NotFound, TooMuchData, BadRequest)
"""Errors that concern one account alone."""


@dataclass(slots=True)
class BlockResult:
    """The scores of a block.

    Attributes:
        scores: by account, one item per as-of day.
        errors: by account, why it could not be scored; such an account has no scores.
        left_out: by account, why rows of it are left out.
    """

    scores: dict[str, list[DayScores]] = field(default_factory=lambda: defaultdict(list))
    errors: dict[str, AdwarmError] = field(default_factory=dict)
    left_out: dict[str, tuple[str, ...]] = field(default_factory=dict)


def score_block(inputs: BlockInputs, block: Sequence[AccountWork], now: datetime) -> BlockResult:
    """Return the scores of the accounts of a block, and store the priors that were measured for them.

    Args:
        inputs: what the scores are computed from.
        block: the accounts with the days to compute.
        now: when the scores are made.
    """
    result = BlockResult()
    read = inputs.context.objects.map(lambda work: _read_table(inputs, work, result.errors), block)
    tables = {work.account_id: table for work, table in zip(block, read, strict=True) if table is not None}
    result.left_out.update({name: table.left_out for name, table in tables.items() if table.left_out})
    measured: dict[MonthKey, StoredPrior] = {}
    for month in sorted({month for work in block for month in work.months}):
        works = [work for work in block if month in work.months and work.account_id not in result.errors]
        _score_month(inputs, works, tables, month=month, result=result, measured=measured)
    fatigue_days.save_priors(inputs.context.engine, measured, now)
    for account_id in result.errors:
        result.scores.pop(account_id, None)
    return result


def _read_table(inputs: BlockInputs, work: AccountWork, errors: dict[str, AdwarmError]) -> AccountRows | None:
    """Return the rows of all days that the account's scores use; None when they cannot be read."""
    settings = inputs.settings
    windows = [
        Window(scan_start(month), max(day for day in work.days if month_of(day) == month)) for month in work.months
    ]
    windows += [
        prior_window(month, settings)
        for month in {*work.months, *map(month_before, work.months)}
        if inputs.find_prior(work.account_id, month) is None
    ]
    contents = {item.day: item for item in work.contents if any(item.day in window for window in windows)}
    span = Window(min(window.since for window in windows), max(window.until for window in windows))
    try:
        return parse_rows(daily_texts(inputs.context.objects, contents, span, FIELDS))
    except DAMAGE as error:
        errors[work.account_id] = error
        return None


def _score_month(
    inputs: BlockInputs,
    works: Sequence[AccountWork],
    tables: Mapping[str, AccountRows],
    month: date,
    result: BlockResult,
    measured: dict[MonthKey, StoredPrior],
) -> None:
    """Add the scores of one month to the result."""
    days = {work.account_id: sorted(day for day in work.days if month_of(day) == month) for work in works}
    if not days:
        return
    span = Window(scan_start(month), max(listed[-1] for listed in days.values()))
    stored = {work.account_id: [item.day for item in work.contents] for work in works}
    panel = cut_panel({name: tables[name] for name in days}, span.since, span.until, stored)
    earlier, priors = (_get_priors(inputs, works, tables, wanted, measured) for wanted in (month_before(month), month))
    settings = inputs.settings.fatigue
    table = score_panel(panel, priors, _frequencies(inputs, panel, days, result.errors), settings)
    alarms = detect(panel, priors, settings, EarlierPriors(panel.column(month), earlier))
    made = make_columns(table, alarms, days)
    for work in works:
        for day in days[work.account_id]:
            item, before = work.days[day], work.replaced.get(day)
            replaces = None if before is None else before.input_hash
            first, last = made.spans.get((work.account_id, day), (0, 0))
            result.scores[work.account_id].append(
                DayScores(
                    account_id=work.account_id,
                    as_of=day,
                    columns=made.columns,
                    first=first,
                    last=last,
                    inputs=item.inputs,
                    settled=item.settled,
                    replaces=replaces,
                )
            )


def _get_priors(
    inputs: BlockInputs,
    works: Iterable[AccountWork],
    tables: Mapping[str, AccountRows],
    month: date,
    measured: dict[MonthKey, StoredPrior],
) -> dict[str, AccountPrior]:
    """Return the prior of a month by account, measured where no stored one fits; new ones are added to `measured`."""
    priors: dict[MonthKey, StoredPrior] = {}
    settled: dict[str, PriorInputs] = {}
    for work in works:
        key = work.account_id, month
        stored = inputs.find_prior(*key) or measured.get(key)
        days = inputs.prior_inputs(*key)
        if stored is not None:
            priors[key] = stored
        elif days.days:
            settled[work.account_id] = days
        else:
            priors[key] = StoredPrior(DEFAULT_PRIOR.to_dict(), "", 0, 0, CALCULATOR_VERSION)
    window = prior_window(month, inputs.settings)
    of_days = {name: [item.day for item in item_days.days] for name, item_days in settled.items()}
    chosen = {name: tables[name] for name in settled}
    panel = cut_panel(chosen, window.since, window.until, of_days, stored_only=True)
    found = measure_priors(panel, month)
    for name, item in settled.items():
        prior = found.get(name, DEFAULT_PRIOR)
        priors[name, month] = StoredPrior(
            prior.to_dict(), item.hash, item.data_version, len(item.days), CALCULATOR_VERSION
        )
    measured.update({key: prior for key, prior in priors.items() if not prior.version and prior.input_hash})
    return {key[0]: AccountPrior.from_dict(prior.figures) for key, prior in priors.items()}


def _frequencies(
    inputs: BlockInputs, panel: AdPanel, days: Mapping[str, Sequence[date]], errors: dict[str, AdwarmError]
) -> FloatArray:
    """Return the frequency of each ad in the week that ends on each scored day, nan where it is unknown."""
    frequencies = empty_figures(len(panel.ad_ids), panel.days)
    bounds = [*panel.account_starts.tolist(), len(panel.ad_ids)]
    for first, last in pairwise(bounds):
        account_id = panel.account_ids[first]
        try:
            figures = inputs.read_figures(account_id, days[account_id])
        except DAMAGE as error:
            errors[account_id] = error
            continue
        for day, by_ad in figures.items():
            if by_ad:
                values = [by_ad.get(ad_id, np.nan) for ad_id in panel.ad_ids[first:last]]
                frequencies[first:last, panel.column(day)] = values
    return frequencies
