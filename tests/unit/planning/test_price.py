"""What a call costs as the quota fills, and which keys are worth it."""

from itertools import product
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.planning.price import CallQuota, WarmCandidates, WarmSelection, select_warms

Key = tuple[str, float, bool, bool]
"""Account, benefit, whether it needs days, whether it needs a summary."""

keys_strategy = st.lists(
    st.tuples(st.sampled_from(["act_1", "act_2", "act_3", "act_4"]), st.floats(0.1, 4), st.booleans(), st.booleans()),
    max_size=14,
)


def _choose(keys: list[Key], fleet: int = 1_000, account: int = 1_000, **other: Any) -> WarmSelection:
    accounts = sorted({key[0] for key in keys})
    columns = [np.array(values) for values in zip(*keys, strict=True)] or [np.zeros(0)] * 4
    group = np.array([accounts.index(key[0]) for key in keys], np.int64)
    pages = np.ones(len(accounts), np.int64)
    days, summary = columns[2].astype(bool), columns[3].astype(bool)
    wishes = WarmCandidates(columns[1].astype(float), group, days, summary, accounts=accounts, pages=pages)
    return select_warms(wishes, CallQuota(4.0, fleet, max_account_calls=account, **other))


def _chosen(keys: list[Key], **quota: Any) -> set[int]:
    return set(np.flatnonzero(_choose(keys, **quota).chosen).tolist())


def _calls(keys: list[Key]) -> int:
    accounts = {key[0] for key in keys}
    return sum(any(k[0] == each and k[2] for k in keys) + any(k[0] == each and k[3] for k in keys) for each in accounts)


def test_the_price_rises_as_the_quota_fills() -> None:
    """From one call to the value of an open, ever faster; a larger value does not change the start."""
    fill = np.linspace(0, 1, 50)
    price = CallQuota(4.0, 10).get_call_price(fill)
    assert (price[0], price[-1]) == (1.0, 4.0)
    assert (np.diff(price) > 0).all()
    assert (np.diff(price, 2) > 0).all()
    assert CallQuota(4.0, 10).get_call_price(np.array([7.0])) == 4.0


def test_a_key_pays_for_its_request() -> None:
    """A key worth more than a call is chosen; one worth less is not, and is not counted as cut."""
    result = _choose([("act_1", 1.01, True, False), ("act_2", 0.99, True, False)])
    assert (result.chosen.tolist(), result.cut.tolist()) == ([True, False], [False, False])
    assert result.get_cost(0).price == pytest.approx(1.0)


def test_keys_of_an_account_share_a_request() -> None:
    """Keys too little worth on their own are fetched when together they pay, and share the price by their gain."""
    result = _choose([("act_1", 0.6, True, False), ("act_1", 0.9, True, False), ("act_2", 0.9, True, False)])
    assert result.chosen.tolist() == [True, True, False]
    assert result.calls[:2].tolist() == pytest.approx([0.4, 0.6])
    assert result.sharing_keys.tolist() == [2, 2, 1]


def test_a_shared_request_is_paid_once() -> None:
    """A key whose days come with a chosen one pays a share; one that also needs a summary pays for that."""
    day, range_ = ("act_1", 2.0, True, False), ("act_1", 1.5, True, True)
    assert _choose([range_]).chosen.tolist() == [False]
    result = _choose([day, range_])
    assert (result.chosen.tolist(), result.calls.tolist()) == ([True, True], [1.0, 1.0])
    assert _choose([("act_1", 2.1, True, True)]).calls.tolist() == [2.0]


def test_a_key_without_a_request_is_free() -> None:
    """Days that are stored and fresh make an entry without a call, whatever the quota."""
    result = _choose([("act_1", 0.1, False, False)], fleet=1, spent=5)
    assert (result.chosen.tolist(), result.get_cost(0).price) == ([True], 0.0)


def test_each_limit_cuts_and_is_named() -> None:
    """An account's limit leaves the fleet's calls to others; calls already spent count."""
    keys = [("act_1", 3.0, True, False), ("act_2", 2.0, True, False), ("act_3", 2.9, True, False)]
    result = _choose(keys, fleet=2)
    assert (result.chosen.tolist(), result.cut.tolist()) == ([True, False, True], [False, True, False])
    assert result.get_cost(1)[3:] == (2, False)
    own = _choose(keys, fleet=10, account=3, spent_by_account={"act_1": 3})
    assert (own.chosen.tolist(), own.get_cost(0)[3:]) == ([False, True, True], (3, True))
    assert _choose(keys, fleet=2, spent=2).chosen.tolist() == [False, False, False]


def test_ties_do_not_leave_calls_unused() -> None:
    """Of equal keys as many are chosen as there are calls, in a fixed order."""
    keys = [(f"act_{n}", 3.9, True, False) for n in (3, 1, 2)]
    assert [key[0] for key, chosen in zip(keys, _choose(keys, fleet=2).chosen, strict=True) if chosen] == [
        "act_1",
        "act_2",
    ]


@given(keys_strategy, st.integers(1, 12), st.integers(0, 4), st.integers(1, 6))
def test_the_rules_hold_for_any_candidates(keys: list[Key], fleet: int, spent: int, account: int) -> None:
    """Within both limits; every key is worth its share of the price; the shares add up to the calls that are made."""
    result = _choose(keys, fleet=fleet, account=account, spent=spent)
    chosen = [key for key, taken in zip(keys, result.chosen, strict=True) if taken]
    calls = _calls(chosen)
    assert calls == pytest.approx(result.calls[result.chosen].sum())
    assert calls <= max(0, fleet - spent)
    assert all(_calls([key for key in chosen if key[0] == name]) <= account for name in {key[0] for key in keys})
    for index in np.flatnonzero(result.chosen).tolist():
        assert keys[index][1] > result.get_cost(index).price - 1e-9
    assert not (result.chosen & result.cut).any()
    assert (result.used <= np.where(result.is_account_limit, account, max(fleet, spent))).all()
    assert (result.price_per_call >= 1).all()
    assert (result.price_per_call <= 4).all()


@given(keys_strategy, st.integers(1, 12), st.integers(0, 4), st.integers(1, 6), st.integers(1, 5))
def test_more_quota_never_plans_fewer(keys: list[Key], fleet: int, spent: int, account: int, more: int) -> None:
    """A larger fleet quota, or less of it spent, selects all that a smaller one did; so does an account's quota."""
    less = _chosen(keys, fleet=fleet, account=account, spent=spent)
    assert less <= _chosen(keys, fleet=fleet + more, account=account, spent=spent)
    assert less <= _chosen(keys, fleet=fleet, account=account, spent=max(0, spent - more))
    assert less <= _chosen(keys, fleet=10**6, account=account + more, spent=spent)


@given(keys_strategy)
def test_with_calls_to_spare_the_selection_is_optimal(keys: list[Key]) -> None:
    """At a price of one, no other set of an account's keys gains more, less its calls."""
    chosen = _chosen(keys, fleet=10**6, account=10**6)
    for name in {key[0] for key in keys}:
        own = [index for index, key in enumerate(keys) if key[0] == name][:8]
        if len(own) < len([key for key in keys if key[0] == name]):
            continue

        def gain(indexes: list[int]) -> float:
            some = [keys[index] for index in indexes]
            return sum(key[1] for key in some) - _calls(some)

        sets = (
            [index for index, on in zip(own, taken, strict=True) if on] for taken in product((0, 1), repeat=len(own))
        )
        assert gain([index for index in own if index in chosen]) == pytest.approx(max(map(gain, sets)), abs=1e-9)


def test_a_single_request_that_gains_half_goes_first() -> None:
    """Of two requests with equal gain one is made when there is one call left."""
    day, range_ = ("act_1", 2.0, True, False), ("act_1", 2.0, True, True)
    assert _choose([day, range_], fleet=1).chosen.tolist() == [True, False]
    assert _choose([("act_1", 2.0, False, True), range_], fleet=1).chosen.tolist() == [True, False]
    both = [("act_1", 4.0, True, False), ("act_2", 7.0, True, True), ("act_3", 3.0, True, False)]
    assert _choose(both, fleet=2).chosen.tolist() == [True, False, False]  # what does not fit ends the list
    assert _choose([("act_1", 1.75, True, False), range_], fleet=1).chosen.tolist() == [False, False]


def test_a_request_of_several_pages_takes_as_many_calls() -> None:
    """Three pages take three calls of the hour, at the same chance as one; two calls do not pay them."""
    needed, pages = np.array([True]), np.array([3])
    for benefit, fleet, chosen in ((2.0, 3, True), (2.0, 2, False), (0.9, 100, False)):
        wishes = WarmCandidates(np.array([benefit]), np.array([0]), needed, ~needed, accounts=["act_1"], pages=pages)
        selection = select_warms(wishes, CallQuota(4.0, fleet))
        assert (bool(selection.chosen[0]), float(selection.calls[0])) == (chosen, 3.0)


def test_what_an_account_cannot_pay_ends_its_list() -> None:
    """Of two reports of an account the better one needs more calls than are left; the other one is not made either."""
    benefit, both = np.array([6.0, 2.0]), np.array([True, False])
    wishes = WarmCandidates(
        benefit, np.array([0, 1]), np.array([True, True]), both, ["act_1", "act_1"], np.ones(2, int)
    )
    assert select_warms(wishes, CallQuota(4.0, 10, max_account_calls=1)).chosen.tolist() == [False, False]
    assert select_warms(wishes, CallQuota(4.0, 10, max_account_calls=9)).chosen.tolist() == [True, True]


class _Step:
    """One or two requests of an account, and the decision on them."""

    def __init__(self, account: str, number: int, keys: list[int], gain: float, calls: int) -> None:
        self.account, self.number, self.keys, self.gain, self.calls = account, number, keys, gain, calls
        self.worth, self.pays, self.taken = gain / calls, False, False
        self.price, self.used, self.is_own = 1.0, 0, False

    def evaluate(self, quota: CallQuota, own: int, fleet: int, ended: set[str]) -> None:
        """Decide, given what the account and the fleet have used before, and whose lists have ended."""
        prices = [1 + 3 * min(1, own / quota.max_account_calls) ** 2, 1 + 3 * min(1, fleet / quota.max_calls) ** 2]
        fits = own + self.calls <= quota.max_account_calls, fleet + self.calls <= quota.max_calls
        self.pays = self.account not in ended and self.worth > prices[0] and fits[0]
        self.taken = self.pays and "fleet" not in ended and self.worth > prices[1] and fits[1]
        self.is_own = not self.pays or prices[0] > prices[1]
        self.price, self.used = (prices[0], own) if self.is_own else (prices[1], fleet)


def _steps_of(account: str, keys: list[Key]) -> list[_Step]:
    own = [index for index, key in enumerate(keys) if key[0] == account and (key[2] or key[3])]
    gains = [sum(keys[i][1] for i in own if keys[i][2:] == needs) for needs in ((True, False), (False, True))]
    total, better = sum(keys[i][1] for i in own), max(gains)
    if not 0 < total - better <= better and not total == better > 0:
        return [_Step(account, 0, own, total, 2)]
    alone = (True, False) if gains[0] >= gains[1] else (False, True)
    first = [i for i in own if keys[i][2:] == alone]
    rest = [i for i in own if i not in first]
    return [_Step(account, 0, first, better, 1), _Step(account, 1, rest, total - better, 1)]


quarters = st.integers(1, 16).map(lambda number: number / 4)
exact_keys = st.lists(
    st.tuples(st.sampled_from(["act_1", "act_2", "act_3"]), quarters, st.booleans(), st.booleans()), max_size=9
)


@given(exact_keys, st.integers(1, 8), st.integers(0, 4), st.integers(1, 4), st.integers(0, 2))
def test_a_selection_is_that_of_one_step_after_the_other(
    keys: list[Key], fleet: int, spent: int, account: int, own_spent: int
) -> None:
    """A loop over the steps, best first, decides and prices the same; the first that does not pay ends its list."""
    quota = CallQuota(4.0, fleet, spent, account, {"act_1": own_spent})
    found = _choose(keys, fleet=fleet, account=account, spent=spent, spent_by_account={"act_1": own_spent})
    steps = [step for name in sorted({key[0] for key in keys}) for step in _steps_of(name, keys)]
    used, ended = {"act_1": own_spent, "fleet": spent}, set[str]()
    for step in sorted(steps, key=lambda step: (-step.worth, step.account, step.number)):
        if step.worth > 1:
            step.evaluate(quota, used.get(step.account, 0), used["fleet"], ended)
            used[step.account] = used.get(step.account, 0) + step.pays * step.calls
            used["fleet"] += step.taken * step.calls
            ended |= ({step.account} if not step.pays else set()) | ({"fleet"} if step.pays > step.taken else set())
    for step in steps:
        for index in step.keys:
            cost = found.get_cost(index)
            assert (found.chosen[index], found.cut[index]) == (step.taken, step.worth > 1 and not step.taken)
            assert cost.calls == pytest.approx(step.calls * keys[index][1] / step.gain)
            assert cost[1:] == (pytest.approx(step.price), len(step.keys), step.used, step.is_own)
    for index in [index for index, key in enumerate(keys) if not (key[2] or key[3])]:
        assert (found.chosen[index], found.cut[index], found.get_cost(index)[::2]) == (True, False, (0.0, 1, False))


def test_no_candidates_give_no_selection() -> None:
    """Empty candidates are valid."""
    assert _choose([]).chosen.tolist() == []
