"""What a call costs as the quota fills, and which keys are worth it. Pure arithmetic on arrays.

Keys of an account share requests: one request fetches the days of all of them, another one their range summaries. So
the keys of an account and report are selected in at most two steps. A step is one request (or both at once) with the
keys that it newly serves; its price is that of its requests, given the keys selected before. A step is taken when the
gain of its keys per call exceeds the price of a call. Each key pays a share of the price in proportion to its gain.

Steps are taken in the order of their gain per call, and the first that is not worth its price ends the list. The order
does not depend on the quota, so a larger quota never selects fewer keys.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field

import numpy as np
import numpy.typing as npt

from adwarm.foundation.arrow_arrays import Bools, Floats, Ints
from adwarm.planning.explanations import WarmCost


@dataclass(frozen=True)
class CallQuota:
    """The upstream calls of an hour: the limits, and what is already spent or promised.

    Attributes:
        open_value: what a first open that finds a fresh entry is worth, in calls.
        max_calls: calls that all accounts together may make.
        spent: calls of all accounts already spent.
        max_account_calls: calls that one account may make.
        spent_by_account: calls already spent, by account id.
    """

    open_value: float
    max_calls: int
    spent: int = 0
    max_account_calls: int = 10**9
    spent_by_account: Mapping[str, int] = field(default_factory=dict)

    def get_call_price(self, used_fraction: Floats) -> Floats:
        """Return what a call costs when `used_fraction` (0 to 1) of a quota is used: 1 at 0, `open_value` at 1.

        The least probability at which a warm of one call pays rises from 1 / `open_value` to 1, slowly at first.
        """
        result: Floats = 1.0 + (self.open_value - 1.0) * np.square(np.clip(used_fraction, 0.0, 1.0))
        return result


@dataclass(frozen=True)
class WarmCandidates:
    """Keys that might be warmed, as arrays of equal length.

    Attributes:
        benefit: what a warm of each key is worth, in calls; above 0.
        group: index of its account and report; keys of a group share requests.
        needs_days: whether it needs days that are missing or due.
        accounts: account id per group.
        pages: calls of each request per group. The gain grows with them: a reader who finds nothing waits for them all.
    """

    benefit: Floats
    group: Ints
    needs_days: Bools
    needs_summary: Bools
    accounts: list[str]
    pages: Ints


@dataclass(frozen=True)
class WarmSelection:
    """The decision on each key, as arrays of equal length.

    Attributes:
        cut: whether it would be warmed if no call had been spent.
        calls: its share of the calls of its step.
        sharing_keys: how many keys share its step.
        used: calls spent by then of the limit that decides.
        is_account_limit: whether that limit is the account's; otherwise it is the fleet's.
    """

    chosen: Bools
    cut: Bools
    calls: Floats
    price_per_call: Floats
    sharing_keys: Ints
    used: Ints
    is_account_limit: Bools

    def get_cost(self, index: int) -> WarmCost:
        """Return what the key at `index` costs."""
        return WarmCost(
            float(self.calls[index]),
            float(self.price_per_call[index]),
            int(self.sharing_keys[index]),
            int(self.used[index]),
            bool(self.is_account_limit[index]),
        )


@dataclass(frozen=True)
class _Steps:
    """Steps of all groups: first the first step of each group, then the second of each."""

    group: Ints
    gain: Floats
    calls: Ints

    def ordered(self) -> Ints:
        """Return the indexes of the steps that are worth a call at price 1, the best gain per call first."""
        per_call = self.gain / self.calls
        order = np.lexsort((np.arange(len(self.gain)), self.group, -per_call))
        result: Ints = order[per_call[order] > 1.0]
        return result


def select_warms(candidates: WarmCandidates, quota: CallQuota) -> WarmSelection:
    """Return which candidates are worth their price under `quota`."""
    steps, step_of = _build_steps(candidates)
    order = steps.ordered()
    per_call = steps.gain / steps.calls
    taken, price, used, by_account = _select_steps(steps, order, per_call, candidates, quota)
    free = step_of < 0  # as an index -1 is some step, of which nothing is used
    size = len(steps.gain)
    sharing = np.bincount(step_of[~free], minlength=size)
    pays = np.zeros(size, bool)
    pays[order] = True
    share = candidates.benefit * candidates.pages[candidates.group] / np.maximum(_at(steps.gain, step_of), 1e-12)
    return WarmSelection(
        chosen=free | _at(taken, step_of).astype(bool),
        cut=~free & pays[step_of] & ~_at(taken, step_of).astype(bool),
        calls=np.where(free, 0.0, share * _at(steps.calls, step_of)),
        price_per_call=_at(price, step_of),
        sharing_keys=np.where(free, 1, sharing[step_of]),
        used=_at(used, step_of).astype(np.int64),
        is_account_limit=_at(by_account, step_of).astype(bool) & ~free,
    )


def _build_steps(candidates: WarmCandidates) -> tuple[_Steps, Ints]:
    """Return the steps, and per key the index of its step, -1 when it needs no request."""
    groups = len(candidates.accounts)

    def gain(which: Bools) -> Floats:
        return np.bincount(candidates.group[which], candidates.benefit[which], groups).astype(np.float64)

    days, summary = (
        gain(candidates.needs_days & ~candidates.needs_summary),
        gain(candidates.needs_summary & ~candidates.needs_days),
    )
    both = days + summary + gain(candidates.needs_days & candidates.needs_summary)
    pages = np.tile(candidates.pages, 2)
    single = np.maximum(days, summary)
    # Two steps pay off when the keys that need only one request gain at least as much as the others.
    separate = single >= both - single
    first = np.where(separate, single, both)
    steps = _Steps(
        np.tile(np.arange(groups), 2),
        np.concatenate([first, both - first]) * pages,
        np.concatenate([np.where(separate, 1, 2), np.ones(groups, np.int64)]).astype(np.int64) * pages,
    )
    days_first = (days >= summary)[candidates.group]
    in_first = ~separate[candidates.group] | np.where(days_first, ~candidates.needs_summary, ~candidates.needs_days)
    step_of = np.where(in_first, candidates.group, candidates.group + groups)
    return steps, np.where(candidates.needs_days | candidates.needs_summary, step_of, -1)


def _select_steps(
    steps: _Steps, order: Ints, per_call: Floats, candidates: WarmCandidates, quota: CallQuota
) -> tuple[Bools, Floats, Ints, Bools]:
    """Return, per step: whether it is taken, the price of a call then, the calls spent then, and of which limit."""
    names, account_of = np.unique(np.array(candidates.accounts, dtype=object), return_inverse=True)
    spent = np.array([quota.spent_by_account.get(str(name), 0) for name in names], np.int64)
    account = account_of[steps.group[order]]
    calls, gains = steps.calls[order], per_call[order]
    own_used = spent[account] + _before(account, calls)
    own_price = quota.get_call_price(own_used / quota.max_account_calls)
    own = (gains > own_price) & (own_used + calls <= quota.max_account_calls)
    fleet_used = quota.spent + np.cumsum(calls * own) - calls * own
    fleet_price = quota.get_call_price(fleet_used / quota.max_calls)
    # Gains fall, use and price rise along the order: behind the first step that does not pay, none pays.
    is_taken = own & (gains > fleet_price) & (fleet_used + calls <= quota.max_calls)
    # A step that is not taken reports the usage at the moment its list ended.
    own_used = np.minimum(own_used, (spent + _sums(account, calls * own, len(names)))[account])
    fleet_used = np.minimum(fleet_used, quota.spent + int((calls * is_taken).sum()))
    own_price, fleet_price = (
        quota.get_call_price(own_used / quota.max_account_calls),
        quota.get_call_price(fleet_used / quota.max_calls),
    )
    by_account = ~own | (own_price > fleet_price)
    size = len(steps.gain)
    taken, price, used, limit = np.zeros(size, bool), np.ones(size), np.zeros(size, np.int64), np.zeros(size, bool)
    taken[order], limit[order] = is_taken, by_account
    price[order] = np.where(by_account, own_price, fleet_price)
    used[order] = np.where(by_account, own_used, fleet_used)
    return taken, price, used, limit


def _sums(group: Ints, calls: Ints, groups: int) -> Ints:
    return np.bincount(group, calls, groups).astype(np.int64)


def _before(group: Ints, calls: Ints) -> Ints:
    """Return, per row, the sum of `calls` of earlier rows of its group."""
    order = np.argsort(group, kind="stable")
    running = np.cumsum(calls[order]) - calls[order]
    starts = np.flatnonzero(np.diff(group[order], prepend=-1))
    lengths = np.diff(np.append(starts, len(order)))
    result = np.empty(len(group), np.int64)
    result[order] = running - np.repeat(running[starts], lengths)
    return result


def _at(values: npt.NDArray[np.generic], where: Ints) -> Floats:
    return np.asarray(values[where], np.float64)
