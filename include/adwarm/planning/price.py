"""What a call costs as the quota fills, and which keys are worth it. Pure arithmetic on arrays.

Keys of an account travel together: one request brings the days of all of them, another one their range summaries. So
an account's keys are decided in at most two steps, each a request (or both at once) with the keys it newly serves: its
price is that of the marginal requests given the keys chosen before. A step is worth taking when what its keys gain,
per call, exceeds the price of a call, and each key then pays the share of the price that it has of the gain.

Steps are taken in the order of their gain per call, and the first that does not pay ends the list. That order does not
depend on the quota, so a larger quota never chooses fewer keys of it.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import NamedTuple

import numpy as np
import numpy.typing as npt

from adwarm.foundation.arrow_arrays import Bools, Floats, Ints


@dataclass(frozen=True)
class CallQuota:
    """The calls of an hour: what may be made, and what is made or promised already.

    Attributes:
        value: what a first open that finds a fresh entry is worth, in calls.
        fleet: calls that all accounts together may make.
        spent: of them, those that are gone.
        account: calls that one account may make.
        spent_by: by account, those that are gone.
    """

    open_value: float
    max_calls: int
    spent: int = 0
    max_account_calls: int = 10**9
    spent_by_account: Mapping[str, int] = field(default_factory=dict)

    def get_call_price(self, used_fraction: Floats) -> Floats:
        """Return what a call costs when `fill` (0 to 1) of a quota is used: 1 at first, `value` for the last one.

        So the chance from which a warm of one call pays rises from 1 / `value` to 1, slowly at first.
        """
        result: Floats = 1.0 + (self.open_value - 1.0) * np.square(np.clip(used_fraction, 0.0, 1.0))
        return result


@dataclass(frozen=True)
class WarmCandidates:
    """Keys that might be warmed, as arrays.

    Attributes:
        benefit: what a warm of each is worth, in calls; above 0.
        group: number of its account and report; their keys travel together.
        days: whether it needs days that are not there or not fresh.
        summary: whether it needs a range summary.
        accounts: per group, its account.
    """

    benefit: Floats
    group: Ints
    needs_days: Bools
    needs_summary: Bools
    accounts: list[str]


class WarmCost(NamedTuple):
    """What a key costs; see `Choice`."""

    calls: float
    price_per_call: float
    sharing_keys: int
    used: int
    is_account_limit: bool

    @property
    def price(self) -> float:
        """The key's share of the price of its step."""
        return self.calls * self.price_per_call


@dataclass(frozen=True)
class WarmSelection:
    """What becomes of each key.

    Attributes:
        chosen: whether it is warmed.
        cut: whether it would be, had the quota been empty.
        calls: its share of the calls of its step.
        per_call: what a call cost when its step was looked at.
        companions: how many keys share its step.
        used: calls of the limit that decides it which are gone by then.
        by_account: whether that limit is its account's; else it is the fleet's.
    """

    chosen: Bools
    cut: Bools
    calls: Floats
    price_per_call: Floats
    sharing_keys: Ints
    used: Ints
    is_account_limit: Bools

    def get_cost(self, place: int) -> WarmCost:
        """Return what one key costs."""
        return WarmCost(
            float(self.calls[place]),
            float(self.price_per_call[place]),
            int(self.sharing_keys[place]),
            int(self.used[place]),
            bool(self.is_account_limit[place]),
        )


@dataclass(frozen=True)
class _Steps:
    """Steps of all groups; the second of a group comes after its first."""

    group: Ints
    gain: Floats
    calls: Ints

    def ordered(self) -> Ints:
        """Return the places of the steps that pay at an empty quota, the best gain per call first."""
        per_call = self.gain / self.calls
        order = np.lexsort((np.arange(len(self.gain)), self.group, -per_call))
        result: Ints = order[per_call[order] > 1.0]
        return result


def select_warms(candidates: WarmCandidates, quota: CallQuota) -> WarmSelection:
    """Return what is worth its price."""
    steps, step_of = _steps(candidates)
    order = steps.ordered()
    per_call = steps.gain / steps.calls
    taken, price, used, by_account = _select_steps(steps, order, per_call, candidates, quota)
    free = step_of < 0
    where = np.where(free, 0, step_of)
    size = max(len(steps.gain), 1)
    companions = np.bincount(where[~free], minlength=size)
    pays = np.zeros(size, bool)
    pays[order] = True
    share = candidates.benefit / np.maximum(_at(steps.gain, where), 1e-12)
    return WarmSelection(
        chosen=free | _at(taken, where).astype(bool),
        cut=~free & pays[where] & ~_at(taken, where).astype(bool),
        calls=np.where(free, 0.0, share * _at(steps.calls, where)),
        price_per_call=_at(price, where, 1.0),
        sharing_keys=np.where(free, 1, companions[where]),
        used=_at(used, where).astype(np.int64),
        is_account_limit=_at(by_account, where).astype(bool) & ~free,
    )


def _steps(wishes: WarmCandidates) -> tuple[_Steps, Ints]:
    """Return the steps, and per key the place of its step, -1 when it needs no request."""
    groups = len(wishes.accounts)

    def gain(which: Bools) -> Floats:
        return np.bincount(wishes.group[which], wishes.benefit[which], groups).astype(np.float64)

    days, summary = gain(wishes.needs_days & ~wishes.needs_summary), gain(wishes.needs_summary & ~wishes.needs_days)
    whole = days + summary + gain(wishes.needs_days & wishes.needs_summary)
    single = np.maximum(days, summary)
    apart = (single > 0) & (single >= whole - single)
    first = np.where(apart, single, whole)
    steps = _Steps(
        np.tile(np.arange(groups), 2),
        np.concatenate([first, whole - first]),
        np.concatenate([np.where(apart, 1, 2), np.ones(groups, np.int64)]).astype(np.int64),
    )
    opens_with_days = (days >= summary)[wishes.group]
    in_first = ~apart[wishes.group] | np.where(opens_with_days, ~wishes.needs_summary, ~wishes.needs_days)
    step_of = np.where(in_first, wishes.group, wishes.group + groups)
    return steps, np.where(wishes.needs_days | wishes.needs_summary, step_of, -1)


def _select_steps(
    steps: _Steps, order: Ints, per_call: Floats, wishes: WarmCandidates, quota: CallQuota
) -> tuple[Bools, Floats, Ints, Bools]:
    """Return, per step: whether it is taken, the price of a call then, the calls gone then, and of which limit."""
    names, account_of = np.unique(np.array(wishes.accounts, dtype=object), return_inverse=True)
    gone = np.array([quota.spent_by_account.get(str(name), 0) for name in names], np.int64)
    account = account_of[steps.group[order]]
    calls, gains = steps.calls[order], per_call[order]
    own_used = gone[account] + _before(account, calls)
    own_price = quota.get_call_price(own_used / quota.max_account_calls)
    own = _before_first_unpaid(account, (gains > own_price) & (own_used + calls <= quota.max_account_calls))
    fleet_used = quota.spent + np.cumsum(calls * own) - calls * own
    fleet_price = quota.get_call_price(fleet_used / quota.max_calls)
    fits = (gains > fleet_price) & (fleet_used + calls <= quota.max_calls)
    fleet = _before_first_unpaid(np.zeros(len(order), np.int64), ~own | fits)
    # What is told of a step that is not taken is how things stood when its list ended.
    own_used = np.minimum(own_used, (gone + _sums(account, calls * own, len(names)))[account])
    fleet_used = np.minimum(fleet_used, quota.spent + int((calls * own * fleet).sum()))
    own_price, fleet_price = (
        quota.get_call_price(own_used / quota.max_account_calls),
        quota.get_call_price(fleet_used / quota.max_calls),
    )
    by_account = ~own | (own_price > fleet_price)
    size = max(len(steps.gain), 1)
    taken, price, used, limit = np.zeros(size, bool), np.ones(size), np.zeros(size, np.int64), np.zeros(size, bool)
    taken[order], limit[order] = own & fleet, by_account
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


def _before_first_unpaid(group: Ints, pays: Bools) -> Bools:
    """Return the rows before the first of their group that does not pay."""
    misses: Ints = (~pays).astype(np.int64)
    result: Bools = (_before(group, misses) == 0) & pays
    return result


def _at(values: npt.NDArray[np.generic], where: Ints, default: float = 0.0) -> Floats:
    if not len(values):
        return np.full(len(where), default)
    return np.asarray(values[where], np.float64)
