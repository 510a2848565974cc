"""Sibling reports: the most opened kinds, which mean the same in every grid."""

from datetime import UTC, datetime, timedelta
from zoneinfo import ZoneInfo

import numpy as np
import numpy.typing as npt
import pandas as pd
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.forecast.features.feature_context import FeatureContext
from adwarm.forecast.features.grid import SLOT_MICROS, SLOTS_PER_DAY, OpenGrid
from adwarm.forecast.features.key_features import (
    MAX_KINDS,
    NO_KIND,
    NO_VALUE,
    SiblingReports,
    add_arrivals,
    add_sibling_recency,
    build_features,
)
from adwarm.patterns.opens import Opens, opens_from_frame

START = datetime(2026, 3, 2, 8, tzinfo=UTC)
END = int((START + timedelta(days=2)).timestamp()) * 1_000_000


def log(*named: tuple[str, str, str, int]) -> Opens:
    """Return opens an hour apart: account, date range, report, how many."""
    rows = [
        (account, date_range, report, START + timedelta(hours=hour))
        for account, date_range, report, count in named
        for hour in range(count)
    ]
    return opens_from_frame(pd.DataFrame(rows, columns=["account_id", "date_range", "report", "ts"]))


def grid_of(*named: tuple[str, str, str, int]) -> OpenGrid:
    """Return the grid of such a log."""
    return OpenGrid.from_opens(log(*named), END)


def test_the_most_opened_kinds_of_all_accounts_are_used() -> None:
    """Opens of a kind add up over accounts; reports of one date range are separate; at most `MAX_KINDS` are used."""
    grid = grid_of(
        ("a", "today", "ads", 3), ("b", "today", "ads", 3), ("a", "last_7d", "ads", 5), ("a", "today", "x", 1)
    )
    assert SiblingReports.most_opened(grid).report_kinds == ("today/ads", "last_7d/ads", "today/x")
    many = grid_of(*(("a", f"range_{number:02}", "ads", 20 - number) for number in range(MAX_KINDS + 4)))
    assert SiblingReports.most_opened(many).report_kinds == tuple(
        f"range_{number:02}/ads" for number in range(MAX_KINDS)
    )


def test_a_log_without_opens_has_no_kinds() -> None:
    """An empty grid gives an empty tuple."""
    grid = OpenGrid.from_opens(log(("a", "today", "ads", 1)).before(0), 10 * SLOT_MICROS)
    assert SiblingReports.most_opened(grid).report_kinds == ()


def test_an_accounts_keys_are_found_by_kind_in_any_grid() -> None:
    """In a grid with other keys in another order the ranks stay; a kind that an account lacks is `NO_KIND`."""
    siblings = SiblingReports(("today/ads", "last_7d/ads"))
    grid = grid_of(("b", "last_7d", "ads", 2), ("b", "last_90d", "ads", 1), ("a", "today", "ads", 2))
    keys = {(account, kind): key for key, (account, kind) in enumerate(_names(grid))}
    result = siblings.keys(grid)
    first, second = (int(grid.account[keys[name]]) for name in (("b", "last_7d/ads"), ("a", "today/ads")))
    assert result[first].tolist() == [NO_KIND, keys["b", "last_7d/ads"]]
    assert result[second].tolist() == [keys["a", "today/ads"], NO_KIND]
    rank = siblings.rank(grid)
    assert [rank[keys[name]] for name in (("b", "last_7d/ads"), ("b", "last_90d/ads"), ("a", "today/ads"))] == [
        1,
        NO_KIND,
        0,
    ]


def _names(grid: OpenGrid) -> list[tuple[str, str]]:
    accounts = ["a", "b"]
    return [
        (accounts[number], grid.report_kinds[kind])
        for number, kind in zip(grid.account.tolist(), grid.report_kind_of.tolist(), strict=True)
    ]


MONDAY = datetime(2026, 3, 2, tzinfo=ZoneInfo("Europe/Berlin"))
"""Four weeks before the clocks are set on."""


def opens(*moments: tuple[str, str, datetime]) -> Opens:
    """Return opens of accounts and date ranges in Berlin."""
    frame = pd.DataFrame(moments, columns=["account_id", "date_range", "ts"])
    return opens_from_frame(frame.assign(ts=pd.to_datetime(frame["ts"], utc=True), time_zone="Europe/Berlin"))


def micros(moment: datetime) -> int:
    """Return a moment of the wall clock in microseconds since 1970."""
    return int(moment.timestamp()) * 1_000_000


def context_at(log: Opens, at: datetime) -> FeatureContext:
    """Return the context of all keys of `log` at one moment, from a grid that ends a day later."""
    grid = OpenGrid.from_opens(log, micros(at + timedelta(days=1)))
    return FeatureContext(grid, np.arange(grid.key_count), np.full(grid.key_count, grid.column(micros(at))))


def feature(context: FeatureContext, name: str) -> npt.NDArray[np.float64]:
    """Return one feature of all keys."""
    return np.asarray(context.features[name], np.float64)


def working_days(count: int, account: str = "act_1") -> list[tuple[str, str, datetime]]:
    """Return one visit per day: one report at nine, the other three quarters of an hour later."""
    days = [MONDAY + timedelta(days=day, hours=9) for day in range(count)]
    return [
        (account, name, day + wait)
        for day in days
        for name, wait in (("today", timedelta()), ("last_7d", timedelta(minutes=45)))
    ]


def test_arrivals_differ_from_presence(subtests: pytest.Subtests) -> None:
    """Every day has an arrival at nine; at a quarter to ten the account is active, but nobody arrives."""
    for wait, came in [(0, 1.0), (45, 0.0)]:
        with subtests.test(wait=wait, came=came):
            context = context_at(opens(*working_days(20)), MONDAY + timedelta(days=20, hours=9, minutes=wait))
            add_arrivals(context)
            assert np.allclose(feature(context, "arrival_day_4"), came)
            assert np.allclose(feature(context, "arrival_week_12"), came)
            assert np.allclose(feature(context, "there_day_4"), 1.0)


def test_arrivals_follow_the_wall_clock() -> None:
    """After the clocks go forward arrivals are still expected at nine, an hour earlier in UTC."""
    context = context_at(opens(*working_days(28)), MONDAY + timedelta(days=28, hours=9))
    add_arrivals(context)
    assert np.allclose(feature(context, "arrival_day_4"), 1.0)


def test_the_last_arrival_stays_until_the_next_one() -> None:
    """The last arrival is that of nine, not the later open of the same visit; before any, the age is the maximum."""
    log = opens(*working_days(3), ("act_2", "today", MONDAY + timedelta(days=2, hours=12)))
    context = context_at(log, MONDAY + timedelta(days=2, hours=11))
    add_arrivals(context)
    since = dict(zip(log.account_id.tolist(), feature(context, "since_arrival").tolist(), strict=True))
    assert since["act_1"] == 8
    assert since["act_2"] >= SLOTS_PER_DAY


def test_every_report_of_an_account_has_the_age_of_each_sibling() -> None:
    """Both reports get the age of the last open of each; a kind that the account never opened is NaN."""
    log = opens(*working_days(3), ("act_2", "last_90d", MONDAY))
    context = context_at(log, MONDAY + timedelta(days=2, hours=11))
    add_sibling_recency(context, SiblingReports(("today/default", "last_7d/default", "last_90d/default")))
    for key, (account, kind) in enumerate(zip(log.account_id.tolist(), log.date_range.tolist(), strict=True)):
        ages = [feature(context, f"since_kind_{place}")[key] for place in range(3)]
        assert np.array_equal(ages, [8, 5, NO_VALUE] if account == "act_1" else [NO_VALUE, NO_VALUE, 59 * 4])
        assert feature(context, "kind")[key] == ["today", "last_7d", "last_90d"].index(kind)


def test_a_kind_opened_later_is_unknown() -> None:
    """A key whose first open comes later has the same features as one that does not exist."""
    log = opens(*working_days(3), ("act_1", "last_90d", MONDAY + timedelta(days=2, hours=12)))
    context = context_at(log, MONDAY + timedelta(days=2, hours=11))
    add_sibling_recency(context, SiblingReports(("last_90d/default",)))
    assert (feature(context, "since_kind_0") == NO_VALUE).all()


@given(
    st.lists(
        st.tuples(st.integers(0, 2), st.integers(0, 3), st.integers(0, 6 * SLOTS_PER_DAY)), min_size=1, max_size=60
    ),
    st.data(),
)
def test_features_depend_on_the_past_of_their_own_pair_only(
    events: list[tuple[int, int, int]], data: st.DataObject
) -> None:
    """No feature depends on the other pairs in the call, nor on opens at or after its column."""
    named = [
        (f"act_{account}", f"range_{kind}", MONDAY + timedelta(minutes=15 * slot)) for account, kind, slot in events
    ]
    log = opens(*named)
    at = data.draw(st.integers(1, 6 * SLOTS_PER_DAY))
    moment = micros(MONDAY) + at * 900_000_000
    known, siblings = log.before(moment), SiblingReports(("range_0/default", "range_1/default"))
    whole, cut = (OpenGrid.from_opens(part, micros(MONDAY + timedelta(days=7))) for part in (log, known))
    if not known.key_count:
        return
    key = np.arange(known.key_count)
    column = np.full(known.key_count, cut.column(moment))
    among = np.tile(np.arange(whole.key_count), 2)
    ages, _ = build_features(
        whole, among, np.repeat([cut.column(moment), whole.column_count - 1], whole.key_count), siblings
    )
    alone, _ = build_features(cut, key, column, siblings)
    assert np.array_equal(ages[: known.key_count], alone)
