"""Creatives, conversions, audiences, images, videos and activities are listed and found as connectors ask for them."""

import json
from typing import Any

import pytest
from facebook_business.adobjects.adactivity import AdActivity
from facebook_business.adobjects.adcreative import AdCreative
from facebook_business.adobjects.adimage import AdImage
from facebook_business.adobjects.advideo import AdVideo
from facebook_business.adobjects.customaudience import CustomAudience
from facebook_business.adobjects.customconversion import CustomConversion

from tests.unit.graph_simulator.conftest import Driven, drive, error_of

CLASSES = {
    "adcreatives": AdCreative,
    "customconversions": CustomConversion,
    "customaudiences": CustomAudience,
    "adimages": AdImage,
    "advideos": AdVideo,
    "activities": AdActivity,
}


def fields_of(edge: str) -> str:
    """All fields of the SDK's class."""
    return ",".join(sorted({value for name, value in vars(CLASSES[edge].Field).items() if not name.startswith("_")}))


def listed(driven: Driven, edge: str, **params: Any) -> list[dict[str, Any]]:
    """All items at an edge."""
    rows: list[dict[str, Any]] = driven.get(f"act_1/{edge}", limit=500, **params)["data"]
    return rows


@pytest.mark.parametrize("edge", sorted(CLASSES))
def test_every_field_of_the_sdk_is_accepted(edge: str) -> None:
    """Items come by pages with all fields of the SDK's class; another field is an error."""
    driven = drive()
    items = listed(driven, edge, fields=fields_of(edge))
    assert items
    assert len({json.dumps(item, sort_keys=True) for item in items}) == len(items)
    first = driven.get(f"act_1/{edge}", limit=1, fields=fields_of(edge))
    assert first["data"] == items[:1]
    assert ("next" in first["paging"]) is (len(items) > 1)
    assert error_of(driven.call(f"act_1/{edge}", fields="nam")) == (100, None)
    assert error_of(driven.call(f"act_1/{edge}", "POST")) == (100, 33)


@pytest.mark.parametrize("edge", ["adcreatives", "advideos", "customaudiences", "customconversions"])
def test_an_item_is_found_by_its_id(edge: str) -> None:
    """The item with an id is the listed one; an unknown id is a missing object."""
    driven = drive()
    item = listed(driven, edge, fields=fields_of(edge))[-1]
    assert driven.get(item["id"], fields=fields_of(edge)) == item
    assert error_of(driven.call(f"{item['id'][:9]}999999999")) == (100, 33)


def test_an_ad_has_the_creative_that_is_listed() -> None:
    """The creative of each active ad is among the creatives of its account."""
    driven = drive()
    ads = driven.get("act_1/ads", fields="creative", limit=500)["data"]
    assert {ad["creative"]["id"] for ad in ads} <= {item["id"] for item in listed(driven, "adcreatives")}


def test_activities_are_those_of_the_time() -> None:
    """Activities from a day or a second on, oldest first; a time that is none is an error."""
    driven = drive()
    every = listed(driven, "activities", fields="event_time,object_id,event_type")
    times = [item["event_time"] for item in every]
    assert times == sorted(times)
    later = listed(driven, "activities", since=1_793_491_200)
    assert 0 < len(later) < len(every)
    assert listed(driven, "activities", since="2026-11-01") == later
    assert listed(driven, "activities", until="2020-01-01") == []
    assert error_of(driven.call("act_1/activities", since="soon")) == (100, None)


def test_the_user_of_a_token() -> None:
    """`me` has an id and a name, and no business users."""
    driven = drive()
    assert driven.get("me") == {"id": "900000000000001", "name": "Simulated user"}
    assert driven.get("me/business_users", fields="business") == {"data": []}
    assert error_of(driven.call("me", fields="emial")) == (100, None)


def test_an_account_states_its_money_and_offset() -> None:
    """Money is in cents as text; the offset is that of the account's zone at the moment."""
    driven = drive(zone="Asia/Kolkata")
    found = driven.get("act_1", fields="amount_spent,balance,timezone_offset_hours_utc")
    assert int(found["amount_spent"]) > 0
    assert (found["balance"], found["timezone_offset_hours_utc"]) == ("0", 5.5)
