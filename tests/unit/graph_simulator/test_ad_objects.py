"""Campaigns, ad sets and ads are listed below an account or another object, and filters hide inactive ones."""

import json
from typing import Any

from tests.unit.graph_simulator.conftest import Driven, drive, error_of

EVERY = json.dumps(["ACTIVE", "PAUSED", "ARCHIVED", "DELETED"])
TODAY = "2026-11-25"


def listed_ids(driven: Driven, path: str, **params: Any) -> list[str]:
    """All ids at a path, page by page."""
    result, after = [], None
    while True:
        body = driven.get(path, limit=3, **params, **({"after": after} if after else {}))
        result += [item["id"] for item in body["data"]]
        if "next" not in body.get("paging", {}):
            return result
        after = body["paging"]["cursors"]["after"]


def rows(driven: Driven, **params: Any) -> list[dict[str, str]]:
    """Rows of a week of ads."""
    fields = "campaign_id,adset_id,ad_id,impressions"
    result: list[dict[str, str]] = json.loads(driven.insights(fields=fields, **params).body)["data"]
    return result


def test_objects_with_delivery_are_listed() -> None:
    """Each campaign, ad set and ad with delivery is listed below the account, and below its own parent only."""
    driven = drive(ads=12)
    week = rows(driven)
    for level, edge in (("campaign", "campaigns"), ("adset", "adsets"), ("ad", "ads")):
        assert {row[f"{level}_id"] for row in week} <= set(listed_ids(driven, f"act_1/{edge}", effective_status=EVERY))
    campaigns = listed_ids(driven, "act_1/campaigns")
    adsets = [name for campaign in campaigns for name in listed_ids(driven, f"{campaign}/adsets")]
    assert adsets == listed_ids(driven, "act_1/adsets")
    ads = [name for adset in adsets for name in listed_ids(driven, f"{adset}/ads", effective_status=EVERY)]
    assert sorted(ads) == sorted(listed_ids(driven, "act_1/ads", effective_status=EVERY))
    assert listed_ids(driven, f"{ads[0]}/campaigns") == []


def test_ended_ads_need_a_status_filter() -> None:
    """Ads that have ended are listed and filtered only when the call asks for their effective status."""
    driven = drive(ads=12)
    active, every = listed_ids(driven, "act_1/ads"), listed_ids(driven, "act_1/ads", effective_status=EVERY)
    ended = {row["ad_id"] for row in rows(driven)} - set(active)
    assert ended
    assert set(active) < set(every)
    named = {"field": "ad.id", "operator": "IN", "value": sorted(ended)}
    statuses = {"field": "ad.effective_status", "operator": "IN", "value": ["ACTIVE", "ARCHIVED"]}
    assert rows(driven, filtering=json.dumps([named])) == []
    assert {row["ad_id"] for row in rows(driven, filtering=json.dumps([named, statuses]))} == ended


def test_ids_can_be_excluded() -> None:
    """A filter can exclude ids."""
    driven = drive()
    every = rows(driven)
    first = every[0]["ad_id"]
    filters = [
        {"field": "ad.id", "operator": "NOT_IN", "value": [first]},
        {"field": "ad.effective_status", "operator": "IN", "value": ["ACTIVE", "ARCHIVED"]},
    ]
    assert rows(driven, filtering=json.dumps(filters)) == [row for row in every if row["ad_id"] != first]


def test_fields_of_objects() -> None:
    """Objects have an id and an effective status; an unknown field is an error."""
    driven = drive()
    assert driven.get("act_1/campaigns", fields="id,effective_status")["data"][0]["effective_status"] == "ACTIVE"
    assert error_of(driven.call("act_1/campaigns", fields="colour")) == (100, None)


def test_each_token_reads_its_own_accounts() -> None:
    """An account assigned to a second token is denied to the first one, and listed for the second only."""
    driven = drive(accounts=("act_1", "act_2"), tokens={"other": ("act_2",)})
    assert error_of(driven.call("act_2")) == (200, None)
    assert error_of(driven.call("act_1", access_token="other")) == (200, None)
    assert driven.get("act_2", access_token="other")["id"] == "act_2"
    assert [item["id"] for item in driven.get("me/adaccounts")["data"]] == ["act_1"]
    assert error_of(driven.call("act_1", access_token="third")) == (190, 463)
