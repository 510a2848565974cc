"""Parameters are validated as strictly as the platform validates them."""

import json
from datetime import UTC, date, datetime

import pytest

from graph_simulator.date_ranges import DateRange
from graph_simulator.error_responses import GraphError
from graph_simulator.query import read_query
from tests.unit.graph_simulator.conftest import PLAIN, Driven, drive, error_of

NOW = datetime(2026, 11, 25, 12, 0, tzinfo=UTC)


def read(**params: str) -> list[str]:
    """The date ranges of parameters, as text."""
    return [str(window) for window in read_query(params, "UTC", NOW).windows]


def span(since: str, until: str) -> str:
    """A time range as JSON."""
    return json.dumps({"since": since, "until": until})


def test_fields_in_both_forms() -> None:
    """A comma-separated list and a JSON list of fields are equal."""
    comma = read_query({"fields": "ad_id,spend"}, "UTC", NOW)
    listed = read_query({"fields": '["ad_id","spend"]'}, "UTC", NOW)
    assert comma == listed
    assert comma.fields == ("ad_id", "spend")


def test_windows_of_increments() -> None:
    """A range is cut by days, by weeks with a shorter last one, by months, or not at all."""
    range_ = span("2026-10-30", "2026-11-05")
    assert read(time_range=range_) == ["2026-10-30..2026-11-05"]
    assert len(read(time_range=range_, time_increment="1")) == 7
    assert read(time_range=range_, time_increment="5") == ["2026-10-30..2026-11-03", "2026-11-04..2026-11-05"]
    assert read(time_range=range_, time_increment="monthly") == ["2026-10-30..2026-10-31", "2026-11-01..2026-11-05"]


def test_time_ranges_win() -> None:
    """`time_ranges` takes precedence over range, preset and increment."""
    result = read(
        time_ranges=f"[{span('2026-11-01', '2026-11-02')},{span('2026-11-05', '2026-11-05')}]",
        time_range=span("2026-10-01", "2026-10-02"),
        time_increment="1",
    )
    assert result == ["2026-11-01..2026-11-02", "2026-11-05..2026-11-05"]


def test_presets_are_in_the_accounts_zone() -> None:
    """Yesterday depends on the account's time zone, and the last 30 days are the default."""
    late = NOW.replace(hour=23)
    auckland = read_query({"date_preset": "yesterday"}, "Pacific/Auckland", late)
    assert auckland.windows == (DateRange(date(2026, 11, 25), date(2026, 11, 25)),)
    assert read() == ["2026-10-26..2026-11-24"]


def test_too_long_ago() -> None:
    """A start over 37 months ago is an error; the first day within is accepted."""
    with pytest.raises(GraphError) as caught:
        read(time_range=span("2023-10-24", "2026-11-01"))
    assert caught.value.code == 3018
    assert read(time_range=span("2023-10-25", "2023-10-25")) == ["2023-10-25..2023-10-25"]


def test_invalid_parameters_are_code_100(subtests: pytest.Subtests) -> None:
    """A parameter that the platform does not accept is code 100."""
    for params in [
        {"level": "pixel"},
        {"fields": "spend,colour"},
        {"fields": "[1]"},
        {"fields": "[spend"},
        {"limit": "0"},
        {"limit": "many"},
        {"date_preset": "last_week"},
        {"time_increment": "0"},
        {"time_range": "yesterday"},
        {"time_range": '{"since":"2026-11-02","until":"2026-11-01"}'},
        {"time_range": '{"since":"2026-11-02"}'},
        {"time_ranges": "[]"},
        {"filtering": '[{"field":"ad.name","operator":"LIKE","value":"x"}]'},
        {"filtering": "[1]"},
        {"action_attribution_windows": "3d_click"},
    ]:
        with subtests.test(params=params):
            with pytest.raises(GraphError) as caught:
                read(**params)
            assert caught.value.code == 100


def test_bad_fields_are_listed() -> None:
    """The message names every unknown field."""
    with pytest.raises(GraphError, match="colour, taste are not valid for fields param"):
        read(fields="spend,colour,taste")


def test_filters() -> None:
    """Filters by id are combined; retired attribution windows are dropped silently."""
    query = read_query(
        {
            "filtering": '[{"field":"ad.id","operator":"IN","value":["1","2"]},{"field":"ad.id","operator":"EQUAL",'
            '"value":"2"},{"field":"ad.impressions","operator":"GREATER_THAN","value":9}]',
            "action_attribution_windows": "7d_click,28d_view",
        },
        "UTC",
        NOW,
    )
    assert query.matches({"ad_id": "2"}, has_ended=False)
    assert not query.matches({"ad_id": "1"}, has_ended=False)
    assert len(query.figures) == 1
    assert query.attribution == ("7d_click",)


LONG_AGO = json.dumps({"since": "2025-09-01", "until": "2025-09-07"})


def first_row(driven: Driven, **params: str) -> dict[str, str]:
    """The first row of a response."""
    result: dict[str, str] = json.loads(driven.insights(**params).body)["data"][0]
    return result


@pytest.mark.parametrize("name", ["dma", "shoe_size"])
def test_unknown_breakdowns(name: str) -> None:
    """An unknown or retired breakdown is an error."""
    assert error_of(drive().insights(breakdowns=name)) == (100, None)


def test_reach_is_left_out_of_old_breakdowns() -> None:
    """Over 13 months back, a query with breakdowns silently has no reach; one without breakdowns has it."""
    driven = drive()
    assert "reach" in first_row(driven, time_range=LONG_AGO)
    assert "reach" in first_row(driven, breakdowns="age")
    assert "reach" not in first_row(driven, time_range=LONG_AGO, breakdowns="age")


def test_ten_reports_a_day_have_old_reach() -> None:
    """Ten reports per account and day have it; a new day allows ten more."""
    driven = drive({"reports": {"base_seconds": 0, "full_seconds": 0, "spread": 0, "seconds_per_1000_cells": 0}})

    def has_reach(account: str = "act_1") -> bool:
        run = driven.submit(account, time_range=LONG_AGO, breakdowns="age", fields=PLAIN)
        return "reach" in driven.get(f"{run}/insights")["data"][0]

    assert [has_reach() for _ in range(12)] == [True] * 10 + [False] * 2
    assert has_reach("act_2")
    driven.wait(86_400)
    assert has_reach()
