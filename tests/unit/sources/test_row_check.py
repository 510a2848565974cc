"""Tests of checking rows before anything above a source sees them."""

import re
from dataclasses import replace
from datetime import date
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.foundation.errors import Corrupt
from adwarm.model import QuerySpec, Window
from adwarm.sources.protocol import FetchUnit, Increment
from adwarm.sources.row_check import MAX_FIELDS, ROW_ERROR_CODE, check_ids, check_rows

WEEK, NEXT = Window(date(2026, 11, 1), date(2026, 11, 7)), Window(date(2026, 11, 8), date(2026, 11, 9))
DAYS = FetchUnit("act_1", (WEEK,), Increment.DAY, QuerySpec())
RANGES = FetchUnit("act_1", (WEEK, NEXT), Increment.RANGE, QuerySpec())
ROW: dict[str, Any] = {
    "account_id": "1",
    "ad_id": "23847",
    "date_start": "2026-11-07",
    "date_stop": "2026-11-07",
    "impressions": "185",
    "spend": "14.35",
    "ctr": "4.864865",
    "ad_name": "NaN",
    "account_currency": "EUR",
    "actions": [{"action_type": "link_click", "value": "9", "1d_click": "9"}],
    "results": [{"indicator": "actions:link_click", "values": [{"value": "9", "windows": ["7d"]}]}],
}
json_values = st.recursive(
    st.one_of(st.none(), st.booleans(), st.floats(), st.integers(), st.text()),
    lambda inner: st.one_of(st.lists(inner), st.dictionaries(st.text(), inner)),
    max_leaves=8,
)


def nested(depth: int) -> Any:
    """A list nested so many times."""
    found: Any = "1"
    for _ in range(depth):
        found = [found]
    return found


def test_good_rows_pass() -> None:
    """Rows as the platform prints them pass, with the account's id in either form; an empty list passes."""
    check_rows([], DAYS)
    check_rows(
        [
            ROW,
            ROW
            | {
                "account_id": "act_1",
                "actions": None,
                "video_play_curve_actions": [{"action_type": "video_view", "value": [100, 42, 7.5]}],
                "results": [{"indicator": "x", "values": [{"value": "1", "attribution_windows": ["default"]}]}],
            },
        ],
        DAYS,
        numeric_ids=True,
    )
    check_rows([ROW | {"date_start": "2026-11-08", "date_stop": "2026-11-09"}], RANGES, numeric_ids=True)


BAD_VALUES = [
    ("account_id", "2"),
    ("account_id", None),
    ("account_id", 1),
    ("account_id", "act_"),
    ("account_id", "1 "),
    ("account_id", "1" * 4000),
    ("ad_id", None),
    ("ad_id", 23847),
    ("ad_id", ""),
    ("ad_id", "1" * 65),
    ("campaign_id", ["1"]),
    ("date_start", None),
    ("date_start", "2026-11-06"),
    ("date_start", "2026-13-01"),
    ("date_start", "20261107"),
    ("date_start", 20261107),
    ("date_stop", "2026-W45-6"),
    ("date_stop", None),
    ("spend", "NaN"),
    ("spend", "Infinity"),
    ("spend", float("nan")),
    ("spend", "1e999"),
    ("spend", True),
    ("impressions", "1_000"),
    ("impressions", " 5"),
    ("impressions", "9" * 40),
    ("impressions", 10**400),
    ("impressions", ["1"]),
    ("impressions", {"value": "1"}),
    ("clicks", "many"),
    ("clicks", "٣"),
    ("actions", "9"),
    ("actions", {"value": "1"}),
    ("actions", ["link_click"]),
    ("actions", [{"value": "inf"}]),
    ("actions", [{"action_type": 7}]),
    ("actions", [{"1d_click": "NaN"}]),
    ("actions", [{"x": nested(9)}]),
    ("account_currency", "U" * 320),
    ("account_currency", 1),
    ("ad_name", "a" * 100_000),
    ("ad_name", "a\0b"),
    ("ad_name", [{"a": "1"}]),
    ("news", "-infinity"),
    ("news", nested(50)),
    ("news", [0] * 100_000),
    ("news", float("inf")),
    ("news", 10**30),
    ("news", b"x"),
    ("x" * 5000, "1"),
    ("", "1"),
]


def test_a_bad_row_refuses_the_response(subtests: pytest.Subtests) -> None:
    """One foreign or malformed value, alone or among good rows, refuses all, and the error names field and row."""
    for field, value in BAD_VALUES:
        with subtests.test(field=field, value=value):
            with pytest.raises(Corrupt) as caught:
                check_rows([ROW, ROW | {field: value}], DAYS)
            assert caught.value.code == ROW_ERROR_CODE
            assert "row 2" in str(caught.value)
            assert (field if 0 < len(field) < 100 else "name of a field") in str(caught.value)
            assert len(str(caught.value)) < 300
            with pytest.raises(Corrupt, match="row 1"):
                check_rows([ROW | {field: value}], DAYS)


def test_days_that_were_not_requested() -> None:
    """A day before or after the window, and a range that is none of the windows, are refused."""
    for day in ("2026-10-31", "2026-11-08"):
        with pytest.raises(Corrupt, match=day):
            check_rows([ROW | {"date_start": day, "date_stop": day}], DAYS)
    for span in (("2026-11-01", "2026-11-09"), ("2026-11-01", "2026-11-06"), ("2026-11-01", "2026-11-01")):
        with pytest.raises(Corrupt, match="not asked for"):
            check_rows([ROW | {"date_start": span[0], "date_stop": span[1]}], RANGES)


def test_the_ids_follow_the_level(subtests: pytest.Subtests) -> None:
    """A row has the id of its own level; ids of lower levels may be missing."""
    for level in ("campaign", "adset", "account"):
        with subtests.test(level=level):
            unit = replace(DAYS, spec=QuerySpec(level=level))
            row = {name: value for name, value in ROW.items() if name != "ad_id"}
            check_rows([row | {f"{level}_id": "1"}], unit, numeric_ids=True)
            with pytest.raises(Corrupt, match=f"{level}_id is missing"):
                check_rows([row | {f"{level}_id": None}], unit, numeric_ids=True)


def test_ids_of_tables_may_be_any_text() -> None:
    """Only the platform's ids must be digits."""
    check_rows([ROW | {"ad_id": "creative-7 (b)"}], DAYS)
    with pytest.raises(Corrupt, match="ad_id"):
        check_rows([ROW | {"ad_id": "creative-7 (b)"}], DAYS, numeric_ids=True)


def test_objects_that_were_not_requested() -> None:
    """A unit restricted to objects accepts no row of another, and none of an excluded one."""
    check_rows([ROW], replace(DAYS, filters=(("ad.id", "IN", "7,23847"), ("campaign.id", "IN", "3"))))
    check_rows([ROW], replace(DAYS, filters=(("ad.id", "GREATER_THAN", "23847"), ("ad.name", "IN", "x"))))
    for wanted in (("ad.id", "IN", "7,8"), ("ad.id", "NOT_IN", "23847")):
        with pytest.raises(Corrupt, match="23847, which was not asked for"):
            check_rows([ROW], replace(DAYS, filters=(wanted,)))


def test_rows_are_bounded() -> None:
    """A row with too many fields is refused, and so is anything that is not an object."""
    check_rows([ROW | {f"f{number}": "1" for number in range(MAX_FIELDS - len(ROW))}], DAYS)
    with pytest.raises(Corrupt, match="fields"):
        check_rows([ROW | {f"f{number}": "1" for number in range(MAX_FIELDS - len(ROW) + 1)}], DAYS)
    check_rows([ROW | {"x" * 100: "1"}], DAYS)
    with pytest.raises(Corrupt, match="name of a field"):
        check_rows([ROW | {"x" * 101: "1"}], DAYS)
    with pytest.raises(Corrupt, match="not an object"):
        check_rows([["1"]], DAYS)  # type: ignore[list-item]


@pytest.mark.parametrize(
    "values",
    [
        {"account_currency": ("U" * 8, "U" * 9), "ad_id": ("1" * 64, "1" * 65)},
        {"ad_name": ("a" * 2_000, "a" * 2_001), "gender": ("a" * 2_000, "a" * 2_001)},
        {"news": ([{"a": [{"a": ["1"]}]}], [{"a": [{"a": [{"a": "1"}]}]}])},
        {"news": ("a" * 20_000, "a" * 20_001), "later": ("-infinityx", "-infinity")},
        {"news": (nested(5), nested(6)), "items": (["1"] * 1_000, ["1"] * 1_001), "map": ({"a": 1e15}, {"a": 2e15})},
        {"actions": ([{"x": nested(3)}], [{"x": nested(4)}]), "conversions": ([{}] * 1_000, [{}] * 1_001)},
        {"actions": ([{"value": None}], [{"value": "x"}]), "website_ctr": ([{"a" * 20_000: 1}], [{"a" * 20_001: 1}])},
        {"actions": ([dict.fromkeys(map(str, range(300)), 1)], [dict.fromkeys(map(str, range(301)), 1)])},
        {
            "spend": ("1e15", "1.1e15"),
            "clicks": (-(10**15), -(10**15) - 1),
            "reach": (0, False),
            "cpc": ("-1.5", "--1"),
        },
    ],
)
def test_the_largest_values_pass(values: dict[str, tuple[Any, Any]]) -> None:
    """Each bound itself is valid; one more is not, in this field alone."""
    check_rows([ROW | {field: good for field, (good, _) in values.items()}], DAYS)
    for field, (_, bad) in values.items():
        with pytest.raises(Corrupt, match=field):
            check_rows([ROW | {field: bad}], DAYS)


def test_messages_repeat_no_text() -> None:
    """A refused value may contain a secret: messages show only ids and days."""
    for field in ROW:
        with pytest.raises(Corrupt) as caught:
            check_rows([ROW | {field: "EAAsecret0123456789" * 2000}], DAYS, numeric_ids=True)
        assert "EAA" not in str(caught.value)
    for changes in ({"EAAsecret0123456789": "nan"}, {"actions": [{"EAAsecret0123456789": "nan"}]}):
        with pytest.raises(Corrupt, match="name of 19 characters") as caught:
            check_rows([ROW | changes], DAYS)
        assert "EAA" not in str(caught.value)


def test_listed_objects_have_ids(subtests: pytest.Subtests) -> None:
    """Every listed object has an id of digits."""
    for bad in ({}, {"id": None}, {"id": 5}, {"id": "x"}, {"id": "9" * 400}):
        with subtests.test(bad=bad):
            check_ids([{"id": "31"}, {"id": "32"}])
            with pytest.raises(Corrupt, match="row 2"):
                check_ids([{"id": "31"}, bad])


@given(st.dictionaries(st.one_of(st.sampled_from(sorted(ROW)), st.text()), json_values))
def test_any_row_passes_or_is_corrupt(changes: dict[str, Any]) -> None:
    """No value causes any other error, and what passes belongs to the unit."""
    row = ROW | changes
    try:
        check_rows([row], DAYS, numeric_ids=True)
    except Corrupt:
        return
    assert row["account_id"] in {"1", "act_1"}
    assert row["date_start"] == row["date_stop"]
    assert row["spend"] is None or abs(float(row["spend"])) < float("inf")


@given(st.dictionaries(st.one_of(st.sampled_from(sorted(ROW)), st.text()), json_values))
def test_a_row_is_refused_alone_as_among_others(changes: dict[str, Any]) -> None:
    """Good rows around a row change nothing: it passes or is refused, with the same field, as it is alone."""
    row = ROW | changes
    try:
        check_rows([row], DAYS, numeric_ids=True)
    except Corrupt as error:
        with pytest.raises(Corrupt, match=re.escape(str(error).split(" ")[0])):
            check_rows([ROW, row, ROW], DAYS, numeric_ids=True)
    else:
        check_rows([ROW, row, ROW], DAYS, numeric_ids=True)


@pytest.mark.parametrize("value", ["1\n2", "1\n", "nan", "", True])
def test_a_figure_is_one_number(value: Any) -> None:
    """Text that is no single number is refused, also two numbers with a line between, and a truth value beside 1."""
    for row in (ROW | {"spend": value}, ROW | {"actions": [{"action_type": "x", "value": value}]}):
        with pytest.raises(Corrupt, match="row 2"):
            check_rows([ROW | {"spend": 1}, row], DAYS)


def test_figures_with_an_exponent_and_long_ones_pass() -> None:
    """A figure may have an exponent, and more digits than most."""
    for value in ("1e5", "0" * 16, "-1E-3", "1." + "0" * 32):
        check_rows([ROW, ROW | {"spend": value, "actions": [{"action_type": "x", "value": value}]}], DAYS)


def test_lists_of_anything_sane_pass() -> None:
    """A field that is not known may hold lists of anything that is sane; an action that has a type has it as text."""
    check_rows([ROW | {"labels": ["a", None, 1, {"b": ["c", None]}]}, ROW | {"labels": ["a"], "actions": [{}]}], DAYS)
    with pytest.raises(Corrupt, match=r"action_type is not text \(row 2\)"):
        check_rows([ROW, ROW | {"actions": [{"action_type": None}, {"value": "1"}]}], DAYS)
