"""Judges every key at one moment, some thousand keys at a time, so that memory does not grow with their number."""

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import numpy.typing as npt

from adwarm.forecast.features.grid import SLOT_MICROS, OpenGrid, PopulationTotals
from adwarm.forecast.models.boosted_model import HISTORY_MICROS, BoostedModel
from adwarm.foundation.arrow_arrays import Floats, Ints
from adwarm.patterns.opens import Opens


def predict_in_batches(
    model: BoostedModel,
    opens: Opens,
    at: int,
    *,
    keys_at_once: int = 1_000,
    selected: npt.NDArray[np.bool_] | None = None,
) -> tuple[Floats, Floats]:
    """Return, per known key, what a warm at `at` (microseconds) is worth, and the chance of an open in its life.

    Accounts are never torn apart, so one with more keys than `keys_at_once` is judged whole.

    Args:
        selected: per key, whether a value is needed; accounts without such a key get NaN.
    """
    delay = model.reach.delay
    opens = opens.before(at - delay)
    recent = opens.since(at - HISTORY_MICROS)
    worth, chance = np.full(opens.key_count, np.nan), np.full(opens.key_count, np.nan)
    wanted = np.ones(opens.key_count, np.bool_) if selected is None else selected
    crowd = PopulationTotals.from_opens(recent, at, delay)
    by_key = np.argsort(recent.key, kind="stable")
    bounds = np.searchsorted(recent.key[by_key], np.arange(opens.key_count + 1))
    for keys in _blocks(opens.account, wanted, keys_at_once):
        rows = np.sort(np.concatenate([by_key[bounds[key] : bounds[key + 1]] for key in keys.tolist()]))
        grid = OpenGrid.from_opens(_only(recent, keys, rows), at, delay=delay, population=crowd)
        column = np.full(len(keys), at // SLOT_MICROS - grid.origin)
        worth[keys], chance[keys] = model.predict(grid, np.arange(len(keys)), column)
    return worth, chance


def _blocks(account: npt.NDArray[np.int32], wanted: npt.NDArray[np.bool_], keys_at_once: int) -> Iterator[Ints]:
    """Yield the keys of accounts of which any is wanted, whole accounts together."""
    order: Ints = np.argsort(account, kind="stable").astype(np.int64)
    order = order[np.isin(account[order], account[wanted])]
    start = 0
    while start < len(order):
        last = account[order[min(start + keys_at_once, len(order)) - 1]]
        end = int(np.searchsorted(account[order], last, "right"))
        yield order[start:end]
        start = end


def _only(opens: Opens, keys: Ints, rows: Ints) -> Opens:
    """Return the opens at `rows` with `keys` and their accounts numbered anew."""
    number = np.zeros(opens.key_count, np.int32)
    number[keys] = np.arange(len(keys), dtype=np.int32)
    return replace(
        opens,
        ts=opens.ts[rows],
        key=number[opens.key[rows]],
        first=opens.first[rows],
        account_id=opens.account_id[keys],
        date_range=opens.date_range[keys],
        report=opens.report[keys],
        zone=opens.zone[keys],
        account=np.unique(opens.account[keys], return_inverse=True)[1].astype(np.int32),
        first_ts=opens.first_ts[keys],
    )
