"""Campaigns, ad sets and ads are listed below an account or another object; filters hide what is not active."""

import json
from typing import Any

from tests.unit.graph_simulator.conftest import SimulatorHarness, error_codes, make_simulator

EVERY = json.dumps(["ACTIVE", "PAUSED", "ARCHIVED", "DELETED"])
TODAY = "2026-11-25"


def listed(driven: SimulatorHarness, path: str, **params: Any) -> list[str]:
    """Every id on a path, page by page."""
    found, after = [], None
    while True:
        body = driven.get(path, limit=3, **params, **({"after": after} if after else {}))
        found += [item["id"] for item in body["data"]]
        if "next" not in body.get("paging", {}):
            return found
        after = body["paging"]["cursors"]["after"]


def rows(driven: SimulatorHarness, **params: Any) -> list[dict[str, str]]:
    """Rows of a week of ads."""
    fields = "campaign_id,adset_id,ad_id,impressions"
    found: list[dict[str, str]] = json.loads(driven.insights(fields=fields, **params).body)["data"]
    return found


def test_what_has_rows_is_listed() -> None:
    """Every campaign, ad set and ad with delivery is below the account, and below its own parent only."""
    driven = make_simulator(ads=12)
    week = rows(driven)
    for level, edge in (("campaign", "campaigns"), ("adset", "adsets"), ("ad", "ads")):
        assert {row[f"{level}_id"] for row in week} <= set(listed(driven, f"act_1/{edge}", effective_status=EVERY))
    campaigns = listed(driven, "act_1/campaigns")
    adsets = [name for campaign in campaigns for name in listed(driven, f"{campaign}/adsets")]
    assert adsets == listed(driven, "act_1/adsets")
    ads = [name for adset in adsets for name in listed(driven, f"{adset}/ads", effective_status=EVERY)]
    assert sorted(ads) == sorted(listed(driven, "act_1/ads", effective_status=EVERY))
    assert listed(driven, f"{ads[0]}/campaigns") == []


def test_only_active_ads_unless_told_otherwise() -> None:
    """Ads that have ended are listed, and found by a filter, only when their standing is asked for."""
    driven = make_simulator(ads=12)
    active, every = listed(driven, "act_1/ads"), listed(driven, "act_1/ads", effective_status=EVERY)
    ended = {row["ad_id"] for row in rows(driven)} - set(active)
    assert ended
    assert set(active) < set(every)
    named = {"field": "ad.id", "operator": "IN", "value": sorted(ended)}
    standing = {"field": "ad.effective_status", "operator": "IN", "value": ["ACTIVE", "ARCHIVED"]}
    assert rows(driven, filtering=json.dumps([named])) == []
    assert {row["ad_id"] for row in rows(driven, filtering=json.dumps([named, standing]))} == ended


def test_ids_can_be_left_out() -> None:
    """A filter may name what is not wanted."""
    driven = make_simulator()
    every = rows(driven)
    first = every[0]["ad_id"]
    filters = [
        {"field": "ad.id", "operator": "NOT_IN", "value": [first]},
        {"field": "ad.effective_status", "operator": "IN", "value": ["ACTIVE", "ARCHIVED"]},
    ]
    assert rows(driven, filtering=json.dumps(filters)) == [row for row in every if row["ad_id"] != first]


def test_fields_of_objects() -> None:
    """Objects have an id and a standing; a field they have not is refused."""
    driven = make_simulator()
    assert driven.get("act_1/campaigns", fields="id,effective_status")["data"][0]["effective_status"] == "ACTIVE"
    assert error_codes(driven.call("act_1/campaigns", fields="colour")) == (100, None)


def test_each_token_reads_its_own_accounts() -> None:
    """An account that a further token keeps to itself is refused to the first one, and listed to its owner only."""
    driven = make_simulator(accounts=("act_1", "act_2"), tokens={"other": ("act_2",)})
    assert error_codes(driven.call("act_2")) == (200, None)
    assert error_codes(driven.call("act_1", access_token="other")) == (200, None)
    assert driven.get("act_2", access_token="other")["id"] == "act_2"
    assert [item["id"] for item in driven.get("me/adaccounts")["data"]] == ["act_1"]
    assert error_codes(driven.call("act_1", access_token="third")) == (190, 463)
