"""Data that could not be read this time is taken from the stored rows."""

from datetime import date

from hypothesis import given
from hypothesis import strategies as st

from adwarm.model import Row, Window
from adwarm.prefetch.gap_filling import MissingData, describe_missing, fill_gaps

DAY, NEXT = date(2026, 11, 1), date(2026, 11, 2)
BOTH = Window(DAY, NEXT)


def row(ad: str, day: date = DAY, **figures: str) -> Row:
    """Return one row of a day."""
    return {"ad_id": ad, "date_start": str(day), "date_stop": str(day), **figures}


def test_a_missing_object_keeps_its_older_rows() -> None:
    """Only in the days it is missing from, and never over a newer row."""
    gap = MissingData("ad", "1", (Window(DAY, DAY),), "why")
    older = [row("1", spend="1"), row("1", NEXT, spend="2"), row("2", spend="3")]
    assert fill_gaps([row("2", spend="9")], [gap], older, ("ad_id",)) == [row("2", spend="9"), row("1", spend="1")]


def test_a_missing_field_keeps_its_older_values() -> None:
    """New rows get their older value; a row that is gone does not come back for it."""
    gap = MissingData("field", "cpm", (BOTH,), "why")
    older = [row("1", cpm="5", spend="1"), row("2", cpm="6")]
    assert fill_gaps([row("1", spend="9")], [gap], older, ("ad_id",)) == [row("1", spend="9", cpm="5")]


@given(st.lists(st.sampled_from("123"), unique=True), st.lists(st.sampled_from("123"), unique=True))
def test_without_gaps_nothing_older_is_taken(new: list[str], old: list[str]) -> None:
    """An ad without a row any more stays without one: no row means no delivery."""
    rows = [row(name) for name in new]
    assert fill_gaps(rows, [], [row(name) for name in old], ("ad_id",)) == rows


def test_missing_data_is_described_once() -> None:
    """Equal gaps are one, a window outside of them has none, and the objects can be parsed from the description."""
    gaps = [
        MissingData("ad", "12", (Window(DAY, DAY),), "too large; so"),
        MissingData("ad", "12", (BOTH,), "another"),
    ]
    text = describe_missing([*gaps, MissingData("field", "cpm", (BOTH,), "broken")], BOTH)
    assert text == "ad 12: too large; so; field cpm: broken"
    assert describe_missing(gaps[:1], Window(NEXT, NEXT)) is None
    assert [(gap.level, gap.id) for gap in MissingData.parse_objects(text)] == [("ad", "12")]
