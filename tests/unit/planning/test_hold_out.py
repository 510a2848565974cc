"""Held-out units: drawn by a hash, stable, independent of order, and only for predicted opens."""

from collections.abc import Sequence
from datetime import UTC, date, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from adwarm.fetch_plan.request_cost import RequestCost
from adwarm.model import ImpactDesign, ReportKey, WarmReason
from adwarm.planning.hold_out import HoldOut, HoldOutView, get_week, is_held_out
from adwarm.planning.recommendation import Recommendation, WarmPlan

MONDAY = date(2026, 3, 2)
AT = datetime(2026, 3, 4, 9, tzinfo=UTC)
WEEK = timedelta(days=7)
ACCOUNTS = st.integers(1, 10**15).map(lambda number: f"act_{number}")
WEEKS = st.integers(0, 500).map(lambda number: MONDAY + number * WEEK)


def _design(share: float = 0.1, salt: str = "salt") -> ImpactDesign:
    return ImpactDesign(1, AT, share, salt)


def _item(account: str, reason: WarmReason = WarmReason.PREDICTED_OPEN, at: datetime = AT) -> Recommendation:
    return Recommendation(ReportKey(account, "today"), at, 0.5, at, reason, explanation={"why": "often opened"})


def _hold_out(design: ImpactDesign, withheld_until: dict[ReportKey, datetime] | None = None) -> HoldOut:
    return HoldOut(design, lambda _: "UTC", withheld_until or {})


@given(ACCOUNTS, WEEKS, st.floats(0.01, 0.5), st.text(max_size=20))
def test_a_draw_is_stable(account: str, week: date, share: float, salt: str) -> None:
    """The same account, week and design give the same draw, and a larger share only adds units."""
    drawn = is_held_out(account, week, _design(share, salt))
    assert drawn == is_held_out(account, week, _design(share, salt))
    assert not drawn or is_held_out(account, week, _design(0.5, salt))


@given(st.permutations([f"act_{number}" for number in range(12)]))
def test_a_plan_withholds_the_same_keys_in_any_order(names: Sequence[str]) -> None:
    """Which keys are withheld does not depend on their order, and each is planned or withheld, never both."""
    plan = _hold_out(_design(0.4)).withhold(WarmPlan(tuple(_item(name) for name in names)))
    expected = {name for name in names if is_held_out(name, MONDAY, _design(0.4))}
    assert {item.key.account_id for item in plan.held_out} == expected
    assert {item.key.account_id for item in plan.recommendations} == set(names) - expected
    assert 0 < len(expected) < len(names)


def test_the_share_holds() -> None:
    """Over 20,000 units the share that is held out is the one that was set, give or take four standard errors."""
    for share in (0.05, 0.1, 0.3):
        design = _design(share)
        units = [(f"act_{n}", MONDAY + week * WEEK) for n in range(1_000) for week in range(20)]
        drawn = sum(is_held_out(*unit, design) for unit in units) / len(units)
        assert abs(drawn - share) < 4 * (share * (1 - share) / len(units)) ** 0.5


def test_each_week_draws_anew() -> None:
    """An account is held out in some weeks and not in others, about as often as the share says."""
    weeks = [MONDAY + number * WEEK for number in range(200)]
    drawn = [is_held_out("act_1", week, _design(0.3)) for week in weeks]
    assert 30 < sum(drawn) < 90
    assert drawn != [is_held_out("act_1", week, _design(0.3, "other")) for week in weeks]


@given(st.sampled_from([reason for reason in WarmReason if reason is not WarmReason.PREDICTED_OPEN]), ACCOUNTS)
def test_other_reasons_are_never_withheld(reason: WarmReason, account: str) -> None:
    """Strategies, requests and the closing of days are planned whatever the draw says."""
    item = _item(account, reason)
    plan = _hold_out(_design(1.0)).withhold(WarmPlan((item,)))
    assert (plan.recommendations, plan.held_out) == ((item,), ())


def test_a_withheld_key_says_why() -> None:
    """The reason names the week and the share, and the evidence for the open stays."""
    (item,) = _hold_out(_design(1.0)).withhold(WarmPlan((_item("act_1"),))).held_out
    assert item.status == "held_out"
    assert item.explanation["why"] == "often opened"
    assert "week 10 of 2026" in item.explanation["held_out"]
    assert "100%" in item.explanation["held_out"]


def test_weeks_are_those_of_the_reader_zone() -> None:
    """Sunday evening in UTC is Monday in Auckland."""
    sunday = datetime(2026, 3, 1, 20, tzinfo=UTC)
    assert get_week(sunday, "UTC") == MONDAY - WEEK
    assert get_week(sunday, "Pacific/Auckland") == MONDAY


class _View:
    """A store in which every key is fresh for an hour, or not stored."""

    def __init__(self, stored: datetime | None) -> None:
        self._stored = stored

    def get_expiries(self, keys: Sequence[ReportKey], moments: Sequence[datetime]) -> Sequence[datetime]:
        return list(moments)

    def get_fresh_until(self, keys: Sequence[ReportKey], moments: Sequence[datetime]) -> Sequence[datetime | None]:
        return [self._stored for _ in keys]

    def get_request_costs(self, keys: Sequence[ReportKey], moments: Sequence[datetime]) -> Sequence[RequestCost]:
        return [RequestCost(True, False) for _ in keys]


def test_a_withheld_entry_counts_as_stored_while_its_unit_is_held_out() -> None:
    """A plan takes a withheld warm as fetched, keeps a later real expiry, and forgets it when the account is warmed."""
    key, until = ReportKey("act_1", "today"), AT + timedelta(hours=3)
    held, warmed = _hold_out(_design(1.0), {key: until}), _hold_out(_design(1e-12), {key: until})
    later = until + timedelta(hours=1)
    assert HoldOutView(_View(None), held).get_fresh_until([key], [AT]) == [until]
    assert HoldOutView(_View(later), held).get_fresh_until([key], [AT]) == [later]
    assert HoldOutView(_View(None), warmed).get_fresh_until([key], [AT]) == [None]
    assert HoldOutView(_View(None), held).get_fresh_until([ReportKey("act_2", "today")], [AT]) == [None]
    assert HoldOutView(_View(None), held).get_request_costs([key], [AT]) == [RequestCost(True, False)]
    assert HoldOutView(_View(None), held).get_expiries([key], [AT]) == [AT]
