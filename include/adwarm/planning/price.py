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

Floats = npt.NDArray[np.float64]
Ints = npt.NDArray[np.int64]
Marks = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Quota:
    """The calls of an hour: what may be made, and what is made or promised already.

    Attributes:
        value: what a first open that finds a fresh entry is worth, in calls.
        fleet: calls that all accounts together may make.
        spent: of them, those that are gone.
        account: calls that one account may make.
        spent_by: by account, those that are gone.
    """

    value: float
    fleet: int
    spent: int = 0
    account: int = 10**9
    spent_by: Mapping[str, int] = field(default_factory=dict)

    def price(self, fill: Floats) -> Floats:
        """Return what a call costs when `fill` (0 to 1) of a quota is used: 1 at first, `value` for the last one.

        So the chance from which a warm of one call pays rises from 1 / `value` to 1, slowly at first.
        """
        result: Floats = 1.0 + (self.value - 1.0) * np.square(np.clip(fill, 0.0, 1.0))
        return result


@dataclass(frozen=True)
class Wishes:
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
    days: Marks
    summary: Marks
    accounts: list[str]


class Cost(NamedTuple):
    """What a key costs; see `Choice`."""

    calls: float
    per_call: float
    companions: int
    used: int
    by_account: bool

    @property
    def price(self) -> float:
        """The key's share of the price of its step."""
        return self.calls * self.per_call


@dataclass(frozen=True)
class Choice:
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

    chosen: Marks
    cut: Marks
    calls: Floats
    per_call: Floats
    companions: Ints
    used: Ints
    by_account: Marks

    def cost(self, place: int) -> Cost:
        """Return what one key costs."""
        return Cost(
            float(self.calls[place]), float(self.per_call[place]), int(self.companions[place]),
            int(self.used[place]), bool(self.by_account[place]),
        )  # fmt: skip


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


def choose(wishes: Wishes, quota: Quota) -> Choice:
    """Return what is worth its price."""
    steps, step_of = _steps(wishes)
    order = steps.ordered()
    per_call = steps.gain / steps.calls
    taken, price, used, by_account = _take(steps, order, per_call, wishes, quota)
    free = step_of < 0
    where = np.where(free, 0, step_of)
    size = max(len(steps.gain), 1)
    companions = np.bincount(where[~free], minlength=size)
    pays = np.zeros(size, bool)
    pays[order] = True
    share = wishes.benefit / np.maximum(_at(steps.gain, where), 1e-12)
    return Choice(
        chosen=free | _at(taken, where).astype(bool),
        cut=~free & pays[where] & ~_at(taken, where).astype(bool),
        calls=np.where(free, 0.0, share * _at(steps.calls, where)),
        per_call=_at(price, where, 1.0),
        companions=np.where(free, 1, companions[where]),
        used=_at(used, where).astype(np.int64),
        by_account=_at(by_account, where).astype(bool) & ~free,
    )


def _steps(wishes: Wishes) -> tuple[_Steps, Ints]:
    """Return the steps, and per key the place of its step, -1 when it needs no request."""
    groups = len(wishes.accounts)

    def gain(which: Marks) -> Floats:
        return np.bincount(wishes.group[which], wishes.benefit[which], groups).astype(np.float64)

    days, summary = gain(wishes.days & ~wishes.summary), gain(wishes.summary & ~wishes.days)
    whole = days + summary + gain(wishes.days & wishes.summary)
    single = np.maximum(days, summary)
    apart = (single > 0) & (single >= whole - single)
    first = np.where(apart, single, whole)
    steps = _Steps(
        np.tile(np.arange(groups), 2),
        np.concatenate([first, whole - first]),
        np.concatenate([np.where(apart, 1, 2), np.ones(groups, np.int64)]).astype(np.int64),
    )
    opens_with_days = (days >= summary)[wishes.group]
    in_first = ~apart[wishes.group] | np.where(opens_with_days, ~wishes.summary, ~wishes.days)
    step_of = np.where(in_first, wishes.group, wishes.group + groups)
    return steps, np.where(wishes.days | wishes.summary, step_of, -1)


def _take(
    steps: _Steps, order: Ints, per_call: Floats, wishes: Wishes, quota: Quota
) -> tuple[Marks, Floats, Ints, Marks]:
    """Return, per step: whether it is taken, the price of a call then, the calls gone then, and of which limit."""
    names, account_of = np.unique(np.array(wishes.accounts, dtype=object), return_inverse=True)
    gone = np.array([quota.spent_by.get(str(name), 0) for name in names], np.int64)
    account = account_of[steps.group[order]]
    calls, gains = steps.calls[order], per_call[order]
    own_used = gone[account] + _before(account, calls)
    own_price = quota.price(own_used / quota.account)
    own = _unbroken(account, (gains > own_price) & (own_used + calls <= quota.account))
    fleet_used = quota.spent + np.cumsum(calls * own) - calls * own
    fleet_price = quota.price(fleet_used / quota.fleet)
    fits = (gains > fleet_price) & (fleet_used + calls <= quota.fleet)
    fleet = _unbroken(np.zeros(len(order), np.int64), ~own | fits)
    # What is told of a step that is not taken is how things stood when its list ended.
    own_used = np.minimum(own_used, (gone + _sums(account, calls * own, len(names)))[account])
    fleet_used = np.minimum(fleet_used, quota.spent + int((calls * own * fleet).sum()))
    own_price, fleet_price = quota.price(own_used / quota.account), quota.price(fleet_used / quota.fleet)
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


def _unbroken(group: Ints, pays: Marks) -> Marks:
    """Return the rows before the first of their group that does not pay."""
    misses: Ints = (~pays).astype(np.int64)
    result: Marks = (_before(group, misses) == 0) & pays
    return result


def _at(values: npt.NDArray[np.generic], where: Ints, default: float = 0.0) -> Floats:
    if not len(values):
        return np.full(len(where), default)
    return np.asarray(values[where], np.float64)
