"""Tests of building the parameters of a call from a unit."""

from datetime import date

import pytest

from adwarm.foundation.errors import BadRequest
from adwarm.model import QuerySpec, Window
from adwarm.sources.meta.params import request_params
from adwarm.sources.protocol import FetchUnit, Increment

FIRST, SECOND = Window(date(2026, 11, 1), date(2026, 11, 7)), Window(date(2026, 11, 8), date(2026, 11, 9))
SPEC = QuerySpec(fields=("ad_name", "spend", "date_start"))


def unit(*windows: Window, increment: Increment = Increment.RANGE, spec: QuerySpec = SPEC) -> FetchUnit:
    """A unit of account 1."""
    return FetchUnit("act_1", windows, increment, spec)


def test_days_of_one_window() -> None:
    """Days are one range with an increment of one."""
    assert request_params(unit(FIRST, increment=Increment.DAY), 500) == {
        "level": "ad",
        "fields": "account_id,ad_id,ad_name,spend",
        "limit": 500,
        "time_range": {"since": "2026-11-01", "until": "2026-11-07"},
        "time_increment": 1,
    }


def test_several_windows_are_time_ranges() -> None:
    """Totals of several windows are sent as time_ranges without an increment, with the cursor."""
    params = request_params(unit(FIRST, SECOND), 50, "abc")
    assert [span["since"] for span in params["time_ranges"]] == ["2026-11-01", "2026-11-08"]
    assert "time_increment" not in params
    assert params["after"] == "abc"


def test_one_window_of_totals_is_a_time_range() -> None:
    """Totals of one window are a plain range."""
    assert "time_range" in request_params(unit(FIRST), 50)


def test_days_of_several_windows_are_refused() -> None:
    """The platform ignores the increment beside time_ranges, so such a unit is refused."""
    with pytest.raises(BadRequest):
        request_params(unit(FIRST, SECOND, increment=Increment.DAY), 50)


def test_attribution_and_filters() -> None:
    """Attribution windows and filters are sent in the platform's form."""
    spec = QuerySpec(fields=("spend",), attribution_windows=("7d_click",))
    asked = FetchUnit(
        "act_1", (FIRST,), Increment.RANGE, spec, (("ad.id", "IN", "1,2"), ("impressions", "GREATER_THAN", "0"))
    )
    params = request_params(asked, 50)
    assert params["action_attribution_windows"] == ["7d_click"]
    standing = params["filtering"].pop()
    assert (standing["field"], standing["operator"]) == ("ad.effective_status", "IN")
    assert {"ACTIVE", "ARCHIVED", "DELETED"} < set(standing["value"]), "a filter hides what is not active"
    assert params["filtering"] == [
        {"field": "ad.id", "operator": "IN", "value": ["1", "2"]},
        {"field": "impressions", "operator": "GREATER_THAN", "value": "0"},
    ]


def test_a_level_requests_its_own_ids() -> None:
    """Above the ad level, fields of lower levels are left out: the platform has none for such a row."""
    spec = QuerySpec("campaign", ("ad_id", "adset_name", "campaign_name", "spend"))
    assert request_params(unit(FIRST, spec=spec), 50)["fields"] == "account_id,campaign_id,campaign_name,spend"
