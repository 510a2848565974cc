"""Scores of stored ads by an earlier version of the calculation, for comparison."""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

import numpy as np

from adwarm.compression import unpack_document
from adwarm.fatigue.compat import compat_scores
from adwarm.fatigue.history import read_frequencies
from adwarm.fatigue.panel import AdPanel, FloatArray, empty_figures, read_panel, round_figures
from adwarm.foundation.errors import NotFound
from adwarm.model import EntryKey, Window
from adwarm.store import Context, entries, partitions
from adwarm.store.partition_rows import daily_table

_DAYS: Final = 37


@dataclass(frozen=True, slots=True)
class EarlierScore:
    """The score of an ad by an earlier version, 0 to 100; None with fewer than seven days of delivery."""

    ad_id: str
    ad_name: str
    total: float | None


def score_stored_ads(context: Context, account_id: str, as_of: date, version: str) -> list[EarlierScore]:
    """Return the scores of an account's stored ads as of a day, the most fatigued first.

    Args:
        context: the store and the settings.
        account_id: `act_` and digits.
        as_of: the last day used.
        version: one of `adwarm.fatigue.compat.VERSIONS`.

    Raises:
        BadRequest: there is no such version.
        NotFound: no day up to `as_of` is stored.
        DamagedObjects: stored rows cannot be read.
    """
    spec = context.settings.spec("default")
    window = Window(as_of - timedelta(days=_DAYS - 1), as_of)
    states = partitions.list_states(context.engine, account_id, spec.hash, window)
    if not states:
        raise NotFound(f"{account_id} has no stored day from {window.since} to {as_of}; fetch some first")
    table = daily_table(context.objects, states, window)
    panel = read_panel({account_id: table}, window.since, as_of, {account_id: list(states)})
    totals = compat_scores(panel, _read_week(context, panel, account_id, as_of, spec.hash), version)[:, -1]
    scores = [
        EarlierScore(ad_id, panel.name_at(ad, panel.days - 1), None if np.isnan(totals[ad]) else float(value))
        for ad, (ad_id, value) in enumerate(zip(panel.ad_ids, round_figures(totals), strict=True))
    ]
    return sorted(scores, key=lambda score: (score.total is None, -(score.total or 0.0), score.ad_id))


def _read_week(context: Context, panel: AdPanel, account_id: str, as_of: date, spec_hash: str) -> FloatArray:
    """Return the frequency of the week up to the last day of the panel; nan on all others."""
    frequency = empty_figures(len(panel.ad_ids), panel.days)
    week = entries.find(context.engine, EntryKey(account_id, Window(as_of - timedelta(days=6), as_of), spec_hash))
    if week is not None:
        rows = unpack_document(week[1], context.settings.compression).window_table.to_rows()
        by_ad = {ad_id: value for (_, ad_id), value in read_frequencies(rows, as_of).items()}
        frequency[:, -1] = [by_ad.get(ad_id, np.nan) for ad_id in panel.ad_ids]
    return frequency
