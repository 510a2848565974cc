"""Panels read from rows: identity, unknown figures, clicks, names, changes, and rounding."""

import random
import re
from collections.abc import Mapping
from datetime import date, timedelta
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.fatigue.panel import FIELDS, AdPanel, cut_panel, round_figures
from adwarm.fatigue.panel_rows import AdRows, parse_rows
from adwarm.foundation.errors import BadRequest
from adwarm.model import ColumnTable, Window
from tests.support.fatigue_scores import to_text_table

FIRST = date(2026, 11, 1)
DAYS = 10
LAST = FIRST + timedelta(days=DAYS - 1)
ROWS = Window(FIRST - timedelta(days=4), LAST + timedelta(days=4))


def _row(day: int = 0, ad: str = "7", **values: Any) -> dict[str, Any]:
    stated = str(FIRST + timedelta(days=day))
    return {"account_id": "1", "ad_id": ad, "date_start": stated, "date_stop": stated, **values}


def read_panel(
    tables: Mapping[str, ColumnTable], *span: date, stored: Mapping[str, list[date]] | None = None
) -> AdPanel:
    """Return the panel of tables of rows by account."""
    parts = [parse_rows(name, to_text_table(table), ROWS) for name, table in sorted(tables.items())]
    return cut_panel(AdRows.join(parts), Window(*span), stored)


def _panel(*rows: dict[str, Any], stored: list[date] | None = None) -> AdPanel:
    days = None if stored is None else {"act_1": stored}
    return read_panel({"act_1": ColumnTable.from_rows(rows)}, FIRST, LAST, stored=days)


def test_rows_become_days_and_absent_numbers_are_zero() -> None:
    """Rows of one day add up, rows outside the span are left out, days without a row have no delivery."""
    panel = _panel(
        _row(impressions="10", clicks="1", spend="0.50"),
        _row(impressions="5"),
        _row(-1, impressions="99"),
        _row(DAYS, "9", impressions="99"),
        _row(3, "8", impressions=""),
        _row(3, impressions="4"),
    )
    assert (panel.account_ids, panel.ad_ids) == (("act_1", "act_1"), ("7", "8"))
    assert panel.impressions.tolist() == [[15, 0, 0, 4, *[0] * 6], [0] * DAYS]
    assert (panel.clicks[0, 0], panel.spend[0, 0]) == (1, 0.5)
    assert panel.is_stored.all()
    assert (panel.first_day, panel.last_day, panel.days, panel.column(LAST)) == (FIRST, LAST, DAYS, DAYS - 1)


def test_a_figure_that_no_row_of_the_day_has_is_unknown() -> None:
    """Absent beside another row is zero; absent from the whole day of the account is unknown, not zero."""
    panel = _panel(
        _row(impressions="10", spend="1"),
        _row(0, "8", impressions="5", clicks=""),
        _row(clicks="3"),
        _row(1, inline_link_clicks="2"),
    )
    assert (panel.clicks[0, 0], panel.clicks[1, 0], panel.spend[1, 0]) == (3, 0, 0)
    assert np.isnan(panel.impressions[0, 1])
    assert np.isnan(panel.spend[0, 1])
    assert panel.impressions[1, 1] == 0  # a stored day without a row of the ad has no delivery


def test_days_that_are_not_stored_are_unknown() -> None:
    """Their figures are nan; a day with rows counts as stored."""
    panel = _panel(_row(2, impressions="9"), stored=[FIRST, FIRST + timedelta(days=1)])
    assert panel.is_stored.tolist() == [[True, True, True, *[False] * 7]]
    assert panel.impressions[0, :3].tolist() == [0, 0, 9]
    assert np.isnan(panel.impressions[0, 3:]).all()
    assert np.isnan(panel.results).all()


def test_the_kind_of_clicks_is_that_of_the_first_day() -> None:
    """Later days that have another kind alone are unknown; both kinds stay available."""
    panel = _panel(
        _row(0, impressions="100", inline_link_clicks="3"),
        _row(1, impressions="100", inline_link_clicks="4", clicks="9"),
        _row(2, impressions="100", clicks="8"),
    )
    assert panel.clicks[0, :2].tolist() == [3, 4]
    assert np.isnan(panel.clicks[0, 2])
    assert panel.all_clicks is not None
    assert np.isnan(panel.all_clicks[0, 0])
    assert panel.all_clicks[0, 1:3].tolist() == [9, 8]
    complete = _panel(_row(0, impressions="100", inline_link_clicks="3", clicks="9"))
    assert (complete.all_clicks, complete.clicks[0, 0]) == (None, 9)
    assert np.isnan(_panel(_row(0, impressions="100")).clicks[0, 0])


def test_names_are_those_of_the_day() -> None:
    """A renamed ad has on each day the name of its newest row up to then."""
    rows = [_row(2, ad_name="new"), _row(0, ad_name="old"), _row(1, ad_name="old"), _row(0, "8", ad_name="other")]
    panel = _panel(*rows)
    assert panel.names is not None
    assert panel.names.tolist() == [["old"] * 2 + ["new"] * 8, ["other"] * 10]
    assert panel.select_ads(1, 2).names[0, 5] == "other"  # type: ignore[index]


def test_a_change_of_the_ad_set_or_creative_is_recorded() -> None:
    """It is on the day whose row differs from the last row that states the field."""
    panel = _panel(
        _row(0, adset_id="a", creative_id="x"),
        _row(2, adset_id="a"),
        _row(4, adset_id="b"),
        _row(6, adset_id="b", creative_id="y"),
        _row(0, "8", adset_id="c"),
        _row(1, "8", adset_id="c"),
    )
    assert panel.changed is not None
    assert np.argwhere(panel.changed).tolist() == [[0, 4], [0, 6]]
    assert _panel(_row(0, adset_id="a"), _row(1, adset_id="a")).changed is None


def test_an_invalid_number_is_named(subtests: pytest.Subtests) -> None:
    """The reason names the ad, the field and the value; the figures of that ad and day are unknown, others are not."""
    for value in ("abc", "-1", "nan", "inf", [1], "1e999", -3):
        for name in ("impressions", "clicks", "inline_link_clicks", "spend"):
            with subtests.test(value=value, name=name):
                rows = [_row(**{"impressions": "1", name: "1"}), _row(0, "8", **{"impressions": "5", name: value})]
                found = parse_rows("act_1", to_text_table(ColumnTable.from_rows(rows)), ROWS)
                (reason,) = found.left_out
                assert re.search(rf"ad 8: {name} is .*, not a number of 0 or more", reason)
                panel = _panel(*rows)
                assert np.isnan(panel.impressions[1, 0])
                assert np.isfinite(panel.impressions[0, 0])


def test_numbers_may_be_written_in_any_way(subtests: pytest.Subtests) -> None:
    """Numbers and texts of numbers are read alike."""
    for value in (5, 5.0, "5", " 5 ", "5e0", "0.5e1"):
        with subtests.test(value=value):
            assert _panel(_row(impressions=value)).impressions[0, 0] == 5


def test_missing_ids_and_invalid_days_are_named() -> None:
    """A row without an ad id or account id, or with an invalid day, is rejected; a day may be a date."""
    with pytest.raises(BadRequest, match="no 'ad_id'"):
        _panel(_row(), {"account_id": "1", "date_start": "2026-11-24"})
    with pytest.raises(BadRequest, match="no 'account_id'"):
        _panel({"ad_id": "7", "date_start": "2026-11-24"})
    with pytest.raises(BadRequest, match=r"ad 7: date_start is 'soon', not a day"):
        _panel({**_row(), "date_start": "soon"})
    with pytest.raises(BadRequest, match="date_start is 'None', not a day"):
        _panel({"account_id": "1", "ad_id": "7"})
    assert _panel({**_row(impressions="1"), "date_start": FIRST}).impressions[0, 0] == 1


def test_accounts_are_read_together_as_alone() -> None:
    """Accounts are sorted, each has its own unknown figures, and one without rows has no ads."""
    tables: Mapping[str, ColumnTable] = {
        "act_2": ColumnTable.from_rows([_row(impressions="2", inline_link_clicks="1"), _row(1, adset_id="a")]),
        "act_1": ColumnTable.from_rows([_row(impressions="1", clicks="1"), _row(1, ad_name="b")]),
        "act_3": ColumnTable.from_rows([]),
    }
    both = read_panel(tables, FIRST, LAST)
    assert (both.account_ids, both.account_starts.tolist()) == (("act_1", "act_2"), [0, 1])
    assert both.clicks[:, 0].tolist() == [1, 1]
    for number, name in enumerate(both.account_ids):
        alone = read_panel({name: tables[name]}, FIRST, LAST)
        np.testing.assert_array_equal(both.clicks[number], alone.clicks[0])
        np.testing.assert_array_equal(both.impressions[number], alone.impressions[0])
        np.testing.assert_array_equal(both.names[number], alone.names[0])  # type: ignore[index]
    assert read_panel({"act_3": tables["act_3"]}, FIRST, LAST).impressions.shape == (0, DAYS)
    parts = [parse_rows(name, to_text_table(table), ROWS) for name, table in sorted(tables.items())]
    assert cut_panel(AdRows.join(parts), Window(FIRST, LAST), {"act_2": []}).account_ids == ("act_2",)


@given(seed=st.integers(0, 1_000))
def test_the_order_of_rows_changes_nothing(seed: int) -> None:
    """Shuffled rows with several of an ad and day give the same panel, to the last bit."""
    draw = random.Random(seed)
    rows = [
        _row(draw.randrange(3), draw.choice("78"), spend=str(draw.random() * 9), ad_name=draw.choice("ab"))
        for _ in range(30)
    ]
    first = _panel(*rows)
    draw.shuffle(rows)
    second = _panel(*rows)
    np.testing.assert_array_equal(first.spend, second.spend)
    np.testing.assert_array_equal(first.names, second.names)


@given(seed=st.integers(0, 10_000))
def test_a_span_cut_of_parsed_rows_equals_its_rows_read_alone(seed: int) -> None:
    """No ad, kind of clicks or results, name or change outside the span is seen; nor on days that are not stored."""
    draw = random.Random(seed)

    def row(day: int) -> dict[str, Any]:
        numbers = {
            name: str(draw.randrange(1, 99)) for name in ("impressions", "clicks", "inline_link_clicks", "spend")
        }
        texts = {"ad_name": draw.choice("ab"), "adset_id": draw.choice("xy")}
        action = {"action_type": draw.choice(["lead", "purchase", "link_click"]), "value": str(draw.randrange(3))}
        values = {**numbers, **texts, "actions": [action]}
        return _row(day, draw.choice("789"), **{name: values[name] for name in values if draw.random() < 0.7})

    rows = [row(draw.randrange(-4, DAYS + 4)) for _ in range(25)]
    first, last = sorted(draw.sample(range(DAYS), 2))
    span = FIRST + timedelta(days=first), FIRST + timedelta(days=last)
    stored = [FIRST + timedelta(days=day) for day in range(DAYS) if draw.random() < 0.8]
    parsed = parse_rows("act_1", to_text_table(ColumnTable.from_rows(rows)), ROWS)

    def read_alone(days: list[date] | None) -> AdPanel:
        texts = {str(span[0] + timedelta(days=day)) for day in range(last - first + 1)}
        texts &= texts if days is None else {str(day) for day in days}
        table = ColumnTable.from_rows([row for row in rows if row["date_start"] in texts])
        return read_panel({"act_1": table}, *span, stored={"act_1": stored})

    whole = cut_panel(parsed, Window(*span), {"act_1": stored})
    strict = cut_panel(parsed, Window(*span), {"act_1": stored}, stored_only=True)
    figures = ("ad_ids", "impressions", "clicks", "spend", "results", "is_stored")
    for cut, alone, names in (
        (whole, read_alone(None), tuple(AdPanel.__dataclass_fields__)),
        (strict, read_alone(stored), figures),
    ):
        for name in names:
            np.testing.assert_equal(getattr(cut, name), getattr(alone, name), err_msg=name)


def test_other_fields_may_be_left_out() -> None:
    """A table with the listed fields alone gives the same panel."""
    rows = [_row(day, impressions="5", clicks="1", reach="4", ctr="20", cpm="3") for day in range(3)]
    whole = ColumnTable.from_rows(rows)
    part = ColumnTable(whole.rows, {name: values for name, values in whole.columns.items() if name in FIELDS})
    panels = [read_panel({"act_1": table}, FIRST, LAST) for table in (whole, part)]
    np.testing.assert_array_equal(panels[0].impressions, panels[1].impressions)
    np.testing.assert_array_equal(panels[0].clicks, panels[1].clicks)


@given(st.floats(allow_nan=False, allow_infinity=False, width=32))
def test_rounding_is_that_of_six_digits(value: float) -> None:
    """Numbers are rounded as by text, but for ties, and print with six digits; rounding again changes nothing."""
    rounded = float(round_figures(np.array([value]))[0])
    assert rounded == pytest.approx(float(f"{value:.6g}"), rel=1.1e-5)
    assert float(f"{rounded:.6g}") == rounded or abs(value) < 1e-17 or abs(value) > 1e22
    assert float(round_figures(np.array([rounded]))[0]) == rounded or abs(value) < 1e-17 or abs(value) > 1e22


def test_unknown_and_infinite_figures_stay() -> None:
    """Rounding keeps nan and infinity, and has no negative zero."""
    assert str(round_figures(np.array([np.nan, np.inf, -np.inf, -0.0, 1234567.0])).tolist()) == (
        "[nan, inf, -inf, 0.0, 1234570.0]"
    )
