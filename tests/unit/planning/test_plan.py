"""What a run plans, what it rejects, and how it explains both."""

import json
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from itertools import permutations
from random import Random
from typing import Any

import pandas as pd
import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adwarm.fetch_plan import RequestCost
from adwarm.model import Account, ReportKey, WarmReason
from adwarm.planning.plan import PlanTiming, SlotArrays, find_expected_keys, get_lead_time, select_expected_keys
from adwarm.planning.price import CallQuota
from adwarm.planning.recommendation import WarmPlan
from adwarm.planning.store_view import NEVER, useful_until
from adwarm.settings import PlanningSettings
from tests.unit.planning.planned import plan_warms

NOW = datetime(2026, 3, 2, 8, 45, tzinfo=UTC)
MINUTE, HOUR = timedelta(minutes=1), timedelta(hours=1)
LIFE = 3 * HOUR
Lookup = Callable[[Sequence[ReportKey], Sequence[datetime]], Sequence[datetime | None]]


def _slot(start: datetime, probability: float, key: str = "act_1", early: float = 0, **other: Any) -> dict[str, Any]:
    row = {
        "account_id": key,
        "date_range": "today",
        "report": "default",
        "slot_start": start,
        "slot_end": start + HOUR,
        "probability": probability,
        "predicted_open": start + early * MINUTE,
        "opens": 7,
        "weeks": 8,
        "hour_of_week": start.weekday() * 24 + start.hour,
        "time_zone": "Europe/Rome",
    }
    return row | other


def _nothing_stored(keys: Sequence[ReportKey], moments: Sequence[datetime]) -> list[datetime | None]:
    return [None] * len(keys)


def _lives(keys: Sequence[ReportKey], moments: Sequence[datetime]) -> list[datetime | None]:
    return [moment + LIFE for moment in moments]


@dataclass
class _View:
    """Responds as a test sets it; every fetch takes one request."""

    get_fresh_until: Lookup
    get_expiries: Lookup
    moments_read: list[datetime] = field(default_factory=list)

    def get_request_costs(
        self, keys: Sequence[ReportKey], moments: Sequence[datetime], until: Sequence[datetime] | None = None
    ) -> list[RequestCost]:
        self.moments_read.extend(moments)
        return [RequestCost(True, False)] * len(keys)


def _frame(rows: list[dict[str, Any]]) -> pd.DataFrame:
    frame = pd.DataFrame(rows, columns=list(_slot(NOW, 0.0)))
    for name in ("slot_start", "slot_end", "predicted_open"):
        frame[name] = pd.to_datetime(frame[name], utc=True)
    return frame


def _plan(
    rows: list[dict[str, Any]],
    *,
    stored: Lookup = _nothing_stored,
    expires: Lookup = _lives,
    calls: int = 100,
    horizon: timedelta = 16 * MINUTE,
    at: datetime = NOW,
    value: float = 10 / 3,
) -> WarmPlan:
    frame = _frame(rows)
    planning = PlanningSettings(min_confidence=0.05)
    timing = PlanTiming(at, horizon, MINUTE)
    return plan_warms(timing, frame, _View(stored, expires), planning, CallQuota(value, calls))


def test_a_likely_open_is_warmed_just_before() -> None:
    """The warm comes one lead before the predicted open, with an explanation in words and numbers."""
    (item,) = _plan([_slot(NOW + 15 * MINUTE, 0.6, early=0.5)]).recommendations
    assert item.key == ReportKey("act_1", "today")
    assert item.warm_at == item.predicted_open - MINUTE == NOW + 14.5 * MINUTE
    assert (item.confidence, item.reason, item.status) == (
        pytest.approx(0.6),
        WarmReason.PREDICTED_OPEN,
        "planned",
    )
    assert item.explanation["why"].startswith("opened in 7 of the last 8 Mondays between 09:00 and 10:00 (Europe/Rome)")
    assert set(json.loads(json.dumps(item.explanation))) == {
        "why",
        "probability",
        "evidence",
        "benefit",
        "cost",
        "calls",
    }
    assert item.explanation["benefit"] == "saves 0.60 waits on average, worth 2.00 calls"
    assert (item.explanation["cost"], item.calls, item.price) == ("1 call at 1.00 each", 1.0, 1.0)


@pytest.mark.parametrize(("fetch", "lead"), [(0, 60), (1, 90), (30, 90), (31, 120), (300, 360)])
def test_the_lead_time_counts_fetches_in_half_minutes(fetch: int, lead: int) -> None:
    """They are rounded up, so that a busy machine seldom changes a plan."""
    assert get_lead_time(timedelta(seconds=fetch)) == timedelta(seconds=lead)


def test_a_warm_is_never_due_in_the_past() -> None:
    """A key that is expected at once is warmed at once."""
    (result,) = _plan([_slot(NOW, 0.6, slot_end=NOW + 15 * MINUTE)]).recommendations
    assert result.warm_at == NOW


def test_one_warm_covers_the_hours_until_expiry() -> None:
    """Three hours of 0.2 until the expiry make 1 - 0.8³; the fourth is beyond it."""
    rows = [_slot(NOW + 15 * MINUTE + hour * HOUR, 0.2, early=1) for hour in range(4)]
    (result,) = _plan(rows).recommendations
    assert result.confidence == pytest.approx(1 - 0.8**3, abs=1e-6)
    assert result.explanation["why"].endswith("49% before the fetched entry expires at 2026-03-02 12:00 UTC")


def test_an_unlikely_key_is_not_planned() -> None:
    """A key not worth its price with all calls left is neither planned nor cut, but it was considered."""
    assert _plan([_slot(NOW + 15 * MINUTE, 0.29)]) == WarmPlan(considered=1)
    assert _plan([_slot(NOW + 15 * MINUTE, 0.29)], value=4).recommendations != ()
    assert _plan([_slot(NOW + 15 * MINUTE, 0.04)], value=100) == WarmPlan(considered=1)
    assert _plan([]) == WarmPlan()


def test_what_a_later_entry_would_answer_does_not_count() -> None:
    """Only opens before the expiry make a key likely; just the least probability is enough."""
    for chance, planned in ((0.04, 0), (0.05, 1)):
        rows = [_slot(NOW + 15 * MINUTE, chance), _slot(NOW + 5 * HOUR, 0.5)]
        assert len(_plan(rows, value=100).recommendations) == planned


def test_a_certain_open_is_one() -> None:
    """A probability of 1 is no division by nothing, and one out of bounds is cut to them."""
    for probability, confidence in ((1.0, 1.0), (1.5, 1.0), (-0.5, 0.5)):
        rows = [_slot(NOW + 15 * MINUTE, 0.5), _slot(NOW + 75 * MINUTE, probability)]
        (item,) = _plan(rows).recommendations
        assert item.confidence == pytest.approx(confidence, abs=1e-6)


def test_slots_are_sorted_by_key_and_time() -> None:
    """Rows in any order have the arrays of sorted rows."""
    rows, other = [_slot(NOW + hour * HOUR, 0.1 * (hour + 1)) for hour in range(3)], _slot(NOW, 0.9, key="act_2")
    for order in ([other, *rows], *([*some, other] for some in permutations(rows))):
        slots = SlotArrays.from_frame(_frame(order), NOW)
        assert slots.key.tolist() == [0, 0, 0, 1]
        assert (slots.start // 3_600_000).tolist() == [0, 1, 2, 0]
        assert slots.probability.tolist() == pytest.approx([0.1, 0.2, 0.3, 0.9])


def test_a_key_waits_for_a_much_likelier_hour() -> None:
    """An unlikely hour does not trigger the warm that the next hour deserves."""
    assert _plan([_slot(NOW + 15 * MINUTE, 0.1), _slot(NOW + 75 * MINUTE, 0.9)]).recommendations == ()
    assert _plan([_slot(NOW + 15 * MINUTE, 0.5), _slot(NOW + 75 * MINUTE, 0.9)]).recommendations != ()


def test_a_warm_due_later_is_left_to_a_later_run() -> None:
    """A warm belongs to the run within whose horizon it falls, and to no other."""
    row = _slot(NOW + 15 * MINUTE, 0.6, early=10)
    assert _plan([row]).recommendations == ()
    assert len(_plan([row], at=NOW + 15 * MINUTE).recommendations) == 1


def test_an_entry_fresh_through_the_session_is_skipped() -> None:
    """Fresh to the end of the predicted session is enough; a minute less is not. The reason is kept."""
    open_ = NOW + 15 * MINUTE

    def until(end: datetime) -> Lookup:
        return lambda keys, moments: [end] * len(keys)

    plan = _plan([_slot(open_, 0.6)], stored=until(open_ + 30 * MINUTE))
    assert (plan.recommendations, plan.cut) == ((), ())
    assert (plan.fresh[0].status, plan.fresh[0].benefit, plan.fresh[0].calls) == ("fresh", 0.6, 0.0)
    assert "stays fresh until 2026-03-02 09:30 UTC" in plan.fresh[0].explanation["cut"]
    assert len(_plan([_slot(open_, 0.6)], stored=until(open_ + 29 * MINUTE)).recommendations) == 1
    assert "for good" in _plan([_slot(open_, 0.6)], stored=until(NEVER)).fresh[0].explanation["cut"]


def test_freshness_is_evaluated_at_the_predicted_open() -> None:
    """The entry that matters is the one of the window at the predicted open."""
    moments_read: list[datetime] = []

    def stored(keys: Sequence[ReportKey], moments: Sequence[datetime]) -> list[datetime | None]:
        moments_read.extend(moments)
        return [None] * len(keys)

    _plan([_slot(NOW + 15 * MINUTE, 0.6, early=0.5)], stored=stored)
    assert moments_read == [NOW + 15.5 * MINUTE]


def test_no_warm_that_expires_before_the_open() -> None:
    """A window that changes at midnight cannot be warmed before midnight for an open after it."""
    night = datetime(2026, 3, 2, 23, 55, tzinfo=UTC)
    account = Account("act_1")

    def expires(keys: Sequence[ReportKey], moments: Sequence[datetime]) -> list[datetime | None]:
        return [useful_until(key, account, at) for key, at in zip(keys, moments, strict=True)]

    plan = _plan([_slot(night + 5 * MINUTE, 0.9)], expires=expires, at=night)
    assert plan.recommendations == ()
    assert "would expire at 2026-03-03 00:00 UTC" in plan.cut[0].explanation["cut"]
    assert len(_plan([_slot(night + 5 * MINUTE, 0.9)], expires=expires, at=night + 5 * MINUTE).recommendations) == 1


def test_an_entry_that_never_expires_covers_every_slot() -> None:
    """Without an expiry every slot counts, and the sentence names no expiry."""
    rows = [_slot(NOW + 15 * MINUTE + hour * HOUR, 0.2, early=0.1) for hour in range(6)]
    (result,) = _plan(rows, expires=lambda keys, moments: [NEVER] * len(keys)).recommendations
    assert result.confidence == pytest.approx(1 - 0.8**6, abs=1e-6)
    assert result.explanation["why"].endswith("74% within a day; the fetched entry lasts longer")


def test_expected_keys_are_fetched_now() -> None:
    """Of each key that is accepted, under the name that it is accepted by: the chance until a new entry expires."""
    rows = [
        _slot(NOW, 0.2),
        _slot(NOW + HOUR, 0.5),
        _slot(NOW + 4 * HOUR, 0.9),
        _slot(NOW, 0.3, key="act_2"),
        _slot(NOW + 2.5 * HOUR, 0.75, key="act_3"),
    ]
    other = ReportKey("act_9", "today")
    names = {ReportKey("act_1", "today"): other, ReportKey("act_3", "today"): ReportKey("act_3", "today")}
    view = _View(_nothing_stored, _lives)
    found = find_expected_keys(_frame(rows), NOW, view, names.get)
    assert (found.keys, found.warm_at, found.ends) == ([*names.values()], [NOW] * 2, [NOW + LIFE] * 2)
    assert found.chance.tolist() == [0.6, 0.5]
    planned, cut = select_expected_keys(found, view, CallQuota(10 / 3, 1))
    assert [item.key for item in planned] == [other]
    assert [item.key.account_id for item in cut] == ["act_3"]
    empty = find_expected_keys(_frame(rows), NOW, view, lambda key: None)
    assert (empty.keys, empty.chance.tolist()) == ([], [])
    assert find_expected_keys(_frame([]), NOW, view, names.get).keys == []


def test_the_entry_must_outlast_the_session() -> None:
    """An entry that expires before the predicted session ends is not fetched, with that reason."""
    ends = NOW + 15 * MINUTE + 30 * MINUTE

    def until(end: datetime) -> Lookup:
        return lambda keys, moments: [end] * len(keys)

    assert len(_plan([_slot(NOW + 15 * MINUTE, 0.9)], expires=until(ends)).recommendations) == 1
    plan = _plan([_slot(NOW + 15 * MINUTE, 0.9)], expires=until(ends - MINUTE))
    assert (plan.recommendations, plan.cut_total, plan.expiring_total) == ((), 0, 1)
    assert "before the session ends" in plan.cut[0].explanation["cut"]


def test_the_budget_keeps_the_likeliest_and_says_why_others_are_cut() -> None:
    """With two calls left, the two best are planned; the third says what is spent and what it would gain."""
    rows = [_slot(NOW + 15 * MINUTE, p, key=f"act_{n}") for n, p in enumerate((0.5, 0.9, 0.7), start=1)]
    plan = _plan(rows, calls=2)
    assert [item.key.account_id for item in plan.recommendations] == ["act_2", "act_3"]
    assert [item.price for item in plan.recommendations] == pytest.approx([1.0, 1.0 + (10 / 3 - 1) / 4])
    (cut,) = plan.cut
    assert (cut.key.account_id, cut.status, plan.cut_total) == ("act_1", "cut", 1)
    assert cut.explanation["cut"] == (
        "cut by the budget: 2 of the 2 calls of all accounts in this hour are used or promised, so it would cost 3.33, "
        "more than the 1.67 it is worth"
    )


rows_strategy = st.lists(
    st.tuples(st.integers(1, 6), st.integers(0, 23), st.floats(0.006, 0.99), st.integers(0, 59)),
    max_size=60,
    unique_by=lambda row: row[:2],
)


def test_a_warm_worth_just_its_price_is_not_planned() -> None:
    """A chance of 0.3 of saving 10 / 3 calls is worth 1 call, which is its price; rounding does not decide."""
    slots = [_slot(NOW, 0.3, key="act_2")]
    assert _plan(slots).recommendations == ()
    others = [_slot(NOW, 0.0625, key="act_1"), _slot(NOW + HOUR, 0.5, key="act_1")]
    assert [item.key.account_id for item in _plan(others + slots, horizon=2 * HOUR).recommendations] == ["act_1"]
    (item,) = _plan([_slot(NOW, 0.3001, key="act_2")]).recommendations
    assert item.benefit > item.price


@example([(1, 0, 0.0625, 0), (1, 1, 0.5, 0), (2, 0, 0.3, 0)], 1, Random(0))
@given(rows_strategy, st.integers(1, 6), st.randoms(use_true_random=False))
def test_plans_follow_their_rules(rows: list[tuple[int, int, float, int]], calls: int, random: Any) -> None:
    """For any forecast: one warm per key, due in this run, likely enough, within budget, in any order of rows."""
    slots = [_slot(NOW + hour * HOUR, p, key=f"act_{key}", early=early) for key, hour, p, early in rows]
    plan = _plan(slots, calls=calls)
    chosen = [*plan.recommendations, *plan.cut]
    assert len(plan.recommendations) <= calls
    assert {item.key for item in plan.recommendations} <= {
        item.key for item in _plan(slots, calls=calls + 1).recommendations
    }
    assert len({item.key for item in chosen}) == len(chosen) <= plan.considered
    for item in chosen:
        assert NOW <= item.warm_at < NOW + 16 * MINUTE
        assert item.warm_at <= item.predicted_open < item.warm_at + LIFE
        assert 0.3 <= item.confidence <= 1
    for item in plan.recommendations:
        assert item.benefit > 1
        assert item.benefit >= item.price >= 1  # both are rounded
    random.shuffle(slots)
    assert _plan(slots, calls=calls) == plan


@given(rows_strategy)
def test_confidence_is_the_probability_until_expiry(rows: list[tuple[int, int, float, int]]) -> None:
    """The arrays give the same result as a product over the covered slots."""
    slots = [_slot(NOW + hour * HOUR, p, key=f"act_{key}", early=early) for key, hour, p, early in rows]
    for item in _plan(slots).recommendations:
        missed = 1.0
        for slot in slots:
            start = slot["slot_start"]
            if slot["account_id"] == item.key.account_id and start + HOUR > item.predicted_open:
                covered = min(1.0, max(0.0, (item.warm_at + LIFE - start) / HOUR))
                missed *= (1 - slot["probability"]) ** covered
        assert item.confidence == pytest.approx(1 - missed, abs=1e-5)
