"""Tests of planning the fewest requests and of splitting them."""

from dataclasses import replace
from datetime import date, timedelta
from math import ceil

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.foundation.errors import AdwarmError, BadRequest, Corrupt, TooMuchData
from adwarm.model import Account, QuerySpec, Window
from adwarm.sources import units
from adwarm.sources.protocol import Capabilities, FetchUnit, Increment
from adwarm.sources.units import (
    MAX_ROWS,
    PageTrail,
    exclude_objects,
    filtered_objects,
    level_below,
    plan_units,
    restrict_to_objects,
    split_by_ids,
    split_by_objects,
    split_by_time,
    with_fields,
)

START = date(2026, 1, 1)
CAPS = Capabilities(max_days_per_request=10, max_windows_per_request=3)
ACCOUNT, SPEC = Account("act_1"), QuerySpec()
windows = st.lists(
    st.tuples(st.integers(0, 60), st.integers(0, 25)).map(
        lambda pair: Window(START + timedelta(days=pair[0]), START + timedelta(days=sum(pair)))
    ),
    min_size=1,
    max_size=6,
)


def fewest(days: set[date], limit: int) -> int:
    """The least number of spans of `limit` days that cover `days`: greedily from the first day."""
    count, until = 0, date.min
    for day in sorted(days):
        if day > until:
            count, until = count + 1, day + timedelta(days=limit - 1)
    return count


@given(windows)
def test_days_are_covered_once_by_the_fewest_spans(wanted: list[Window]) -> None:
    """Every requested day is in exactly one span, no span is too long, and no plan has fewer."""
    units = plan_units(CAPS, ACCOUNT, wanted, Increment.DAY, SPEC)
    spans = [unit.windows[0] for unit in units]
    days = {day for window in wanted for day in window.days()}
    assert all(sum(day in span for span in spans) == 1 for day in days)
    assert all(len(span) <= 10 for span in spans)
    assert len(spans) == fewest(days, 10)


@given(windows)
def test_windows_are_requested_once(wanted: list[Window]) -> None:
    """Every distinct window of totals is in exactly one unit, with as many per unit as allowed."""
    units = plan_units(CAPS, ACCOUNT, wanted, Increment.RANGE, SPEC)
    assert [window for unit in units for window in unit.windows] == sorted(set(wanted))
    assert len(units) == ceil(len(set(wanted)) / 3)


@given(windows, st.sampled_from(list(Increment)))
def test_the_order_of_windows_does_not_matter(wanted: list[Window], increment: Increment) -> None:
    """The same windows in any order, or twice, give the same units."""
    expected = plan_units(CAPS, ACCOUNT, wanted, increment, SPEC)
    assert plan_units(CAPS, ACCOUNT, [*wanted[::-1], *wanted], increment, SPEC) == expected


@given(windows, st.sampled_from(list(Increment)))
def test_splits_end_and_lose_nothing(wanted: list[Window], increment: Increment) -> None:
    """Repeated splitting ends with single days or windows, which together are the whole."""
    for unit in plan_units(CAPS, ACCOUNT, wanted, increment, SPEC):
        pieces, done = [unit], []
        while pieces:
            piece = pieces.pop(0)
            parts = split_by_time(piece)
            (pieces if parts else done).extend(parts or [piece])
        whole = [day for window in unit.windows for day in window.days()]
        assert sorted(day for piece in done for window in piece.windows for day in window.days()) == sorted(whole)
        assert all(len(piece.windows) == 1 for piece in done)
        assert increment is Increment.RANGE or all(len(piece.windows[0]) == 1 for piece in done)


def test_no_windows_give_no_units() -> None:
    """An empty list of windows plans nothing."""
    assert plan_units(CAPS, ACCOUNT, [], Increment.DAY, SPEC) == []
    assert plan_units(CAPS, ACCOUNT, [], Increment.RANGE, SPEC) == []


def test_an_unknown_level_is_named() -> None:
    """An unknown level is refused with the levels that the source has."""
    with pytest.raises(BadRequest, match="ad"):
        plan_units(CAPS, ACCOUNT, [Window(START, START)], Increment.DAY, QuerySpec(level="campaign"))


def test_a_source_without_breakdowns_refuses_them() -> None:
    """Neither kind is ignored: rows that are not divided would pass for groups."""
    for spec in (QuerySpec(breakdowns=("age",)), QuerySpec(action_breakdowns=("action_device",))):
        with pytest.raises(BadRequest, match="has no breakdowns; name a report without them"):
            plan_units(CAPS, ACCOUNT, [Window(START, START)], Increment.DAY, spec)
        assert len(plan_units(replace(CAPS, has_breakdowns=True), ACCOUNT, [Window(START, START)], Increment.DAY, spec))


def test_split_keeps_the_query() -> None:
    """Both halves have the query and the account of the whole."""
    unit = FetchUnit("act_1", (Window(START, START + timedelta(days=2)),), Increment.DAY, SPEC, (("a", "b", "c"),))
    assert {(part.account_id, part.spec, part.filters) for part in split_by_time(unit)} == {
        ("act_1", SPEC, (("a", "b", "c"),))
    }


@given(st.integers(1, 350))
def test_splitting_by_objects_covers_each_object_once(count: int) -> None:
    """Units hold each object once, at least two units per level and never too many objects per request."""
    ids = [str(number) for number in range(count)]
    parts = split_by_objects(FetchUnit("act_1", (Window(START, START),), Increment.DAY, SPEC), "campaign", ids)
    named = [filtered_objects(part) for part in parts]
    assert [item for _, found in named for item in found] == ids
    assert all(level == "campaign" and len(found) <= 100 for level, found in named)
    assert len(parts) >= min(2, count)


@given(st.integers(1, 60))
def test_halving_objects_ends_with_one_each(count: int) -> None:
    """Repeated splitting by ids ends with one object per unit, and loses none."""
    pieces = split_by_objects(
        FetchUnit("act_1", (Window(START, START),), Increment.DAY, SPEC), "ad", [str(n) for n in range(count)]
    )
    done: list[FetchUnit] = []
    while pieces:
        piece = pieces.pop(0)
        parts = split_by_ids(piece)
        (pieces if parts else done).extend(parts or [piece])
    assert sorted(int(filtered_objects(piece)[1][0]) for piece in done) == list(range(count))


def test_levels_go_down_to_the_querys_own() -> None:
    """A unit is split by campaigns, then ad sets, then ads; one by campaign ends there, one by account at once."""
    unit = FetchUnit("act_1", (Window(START, START),), Increment.DAY, SPEC)
    seen = []
    while (level := level_below(unit)) is not None:
        seen.append(level)
        unit = restrict_to_objects(unit, level, ["1"])
    assert seen == ["campaign", "adset", "ad"]
    assert level_below(with_spec(unit, "campaign")) is None
    assert level_below(FetchUnit("act_1", unit.windows, Increment.DAY, QuerySpec(level="account"))) is None


def with_spec(unit: FetchUnit, level: str) -> FetchUnit:
    """A unit restricted to one campaign, at another level."""
    return restrict_to_objects(
        FetchUnit("act_1", unit.windows, Increment.DAY, QuerySpec(level=level)), "campaign", ["1"]
    )


def test_excluding_objects_keeps_the_restriction() -> None:
    """Excluded objects are added to the filters; other fields keep the rest of the request."""
    unit = exclude_objects(FetchUnit("act_1", (Window(START, START),), Increment.DAY, SPEC), {"9", "8"})
    assert unit.filters == (("ad.id", "NOT_IN", "8,9"),)
    assert restrict_to_objects(unit, "campaign", ["3"]).filters == (
        ("ad.id", "NOT_IN", "8,9"),
        ("campaign.id", "IN", "3"),
    )
    assert with_fields(unit, ("spend",)).spec.fields == ("spend",)


def test_the_hash_of_a_unit_identifies_its_request() -> None:
    """Equal requests have equal hashes whatever their page size; other requests have others."""
    unit = FetchUnit("act_1", (Window(START, START),), Increment.DAY, SPEC)
    others = [
        replace(unit, account_id="act_2"),
        replace(unit, increment=Increment.RANGE),
        with_fields(unit, ("spend",)),
        replace(unit, windows=(Window(START, START + timedelta(days=1)),)),
        restrict_to_objects(unit, "ad", ["1"]),
    ]
    assert replace(unit, page_size=5).hash == unit.hash
    assert len({unit.hash, *(other.hash for other in others)}) == 6


SIZE = 500


def _read(trail: PageTrail, rows: int, pages: int) -> AdwarmError | None:
    """Add pages of `rows` rows until one is refused; return its error."""
    try:
        for number in range(pages):
            trail.add(f"{trail.count}-{number}", rows, rows / SIZE)
    except AdwarmError as error:
        return error
    return None


def test_an_honest_account_of_any_size_is_read() -> None:
    """Full pages up to the largest result, and some that are not full, stay within the bounds."""
    trail = PageTrail("act_1")
    assert _read(trail, SIZE, MAX_ROWS // SIZE - 60) is None
    assert _read(trail, 30, 50) is None
    trail.add(None, 7, 7 / SIZE)
    assert trail.cursor is None


@pytest.mark.parametrize("rows", [0, 3, 100])
def test_pages_without_an_end_are_few(rows: int) -> None:
    """Pages that are hardly filled end after about `MAX_SPARSE_PAGES` of them."""
    trail = PageTrail("act_1")
    error = _read(trail, rows, 10_000)
    assert isinstance(error, Corrupt)
    assert error.code == "pages"
    assert "not full may be 100 at most" in str(error)
    assert trail.count <= 125


def test_full_pages_without_an_end_are_too_much_data() -> None:
    """Their rows are bounded, so the request is split."""
    error = _read(PageTrail("act_1"), SIZE, 10_000)
    assert isinstance(error, TooMuchData)
    assert "exceeds 500,000 rows; request fewer days or fields" in str(error)


def test_pages_read_before_count_as_full(monkeypatch: pytest.MonkeyPatch) -> None:
    """A result that is continued has the whole allowance for the pages that follow; a repeated cursor is refused."""
    monkeypatch.setattr(units, "MAX_SPARSE_PAGES", 5)
    trail = PageTrail("act_1")
    trail.resume("x", 400, 9_000, 10)
    assert (trail.count, trail.cursor, trail.size_bytes) == (400, "x", 10)
    assert _read(trail, 1, 4) is None
    with pytest.raises(Corrupt, match="circle"):
        trail.add("x", 500, 1.0)


@given(st.lists(st.integers(0, 600), max_size=60), st.integers(1, 20))
def test_no_sequence_of_pages_exceeds_the_bound(pages: list[int], most: int) -> None:
    """Whatever pages come, those that were accepted lack less than `MAX_SPARSE_PAGES` full ones, but for the last."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(units, "MAX_SPARSE_PAGES", most)
        _check_pages(pages, most)


def _check_pages(pages: list[int], most: int) -> None:
    trail, lacking = PageTrail("act_1"), 0.0
    for number, rows in enumerate(pages):
        try:
            trail.add(str(number), rows, rows / SIZE)
        except Corrupt:
            assert lacking + 1 >= most
            return
        lacking += 1 - min(1.0, rows / SIZE)
    assert lacking < most + 1e-6
