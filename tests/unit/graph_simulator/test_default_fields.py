"""Fields that other connectors request by default are accepted, and have values where an ad can have them.

The lists and their sources are in default_fields.json."""

import json
from pathlib import Path
from typing import Any

import pytest
from facebook_business.adobjects.adsinsights import AdsInsights

from graph_simulator.fields import FIELDS
from tests.unit.graph_simulator.conftest import RANGE, drive, error_of, ratio_text

LISTS: dict[str, Any] = json.loads(Path(__file__).with_name("default_fields.json").read_text(encoding="utf-8"))
CLICKS = ["1d_click", "7d_click", "28d_click", "1d_view"]
BREAKDOWNS = ["action_type", "action_target_id", "action_destination"]
NO_FIGURE = {"ad_click_actions", "ad_impression_actions", "mobile_app_purchase_roas", "cost_per_ad_click"}
NO_FIGURE |= {name for name in LISTS["airbyte"] if name.startswith(("auction_", "catalog_", "converted_", "instant_"))}
NO_FIGURE |= {"qualifying_question_qualify_answer_rate"}
ON_THE_SITE = {
    "action_values",
    "purchase_roas",
    "website_purchase_roas",
    "conversions",
    "conversion_values",
    "cost_per_conversion",
}


def requested(fields: list[str], **more: Any) -> list[dict[str, Any]]:
    """The rows of a week of ads with these fields, requested like the tools do."""
    reply = drive(ads=12).insights(fields=json.dumps(fields), **more)
    assert reply.status == 200, reply.body
    result: list[dict[str, Any]] = json.loads(reply.body)["data"]
    return result


@pytest.mark.parametrize(
    ("tool", "windows", "breakdowns", "lost"),
    [
        ("dlt", [*CLICKS, "7d_view", "28d_view"], [], set()),
        ("singer", [*CLICKS, "7d_view", "28d_view"], BREAKDOWNS, ON_THE_SITE),
        ("airbyte", CLICKS, BREAKDOWNS, ON_THE_SITE),
    ],
)
def test_default_fields_are_accepted(tool: str, windows: list[str], breakdowns: list[str], lost: set[str]) -> None:
    """Each tool's own list is accepted; each field that a simulated ad can have has a value."""
    rows = requested(
        LISTS[tool],
        time_ranges=f"[{RANGE}]",
        action_attribution_windows=json.dumps(windows),
        action_breakdowns=json.dumps(breakdowns),
    )
    assert set(LISTS[tool]) - {name for row in rows for name in row} == (NO_FIGURE | lost) & set(LISTS[tool])


def test_singers_insight_streams_have_their_rows() -> None:
    """Each stream is a report with its fields and breakdowns: rows name the breakdowns; rows by hour have no reach."""
    for stream, breakdowns in LISTS["singer_breakdowns"].items():
        fields = LISTS["singer_hourly" if stream.endswith("hourly_advertiser") else "singer"]
        driven = drive(ads=3)
        run = driven.submit(fields=json.dumps(fields), breakdowns=json.dumps(breakdowns))
        driven.wait(3_600)
        (row, *_) = driven.get(f"{run}/insights", limit=100)["data"]
        assert {"date_start", *breakdowns} <= set(row)
        assert ("reach" in row) is ("unique_actions" in fields)


def test_every_field_of_the_sdk_is_accepted() -> None:
    """Every field of the SDK is accepted; anything else is an error."""
    names = {value for name, value in vars(AdsInsights.Field).items() if not name.startswith("_")}
    assert names == FIELDS
    assert requested(sorted(names))
    assert error_of(drive().insights(fields="impression")) == (100, None)


def test_figures_that_follow_from_others() -> None:
    """Ratios follow from counts, unique counts exceed neither clicks nor reach, and video retention falls over time."""
    for row in requested(LISTS["airbyte"]):
        clicks, unique, people = (int(row.get(name, 0)) for name in ("clicks", "unique_clicks", "reach"))
        assert unique <= min(clicks, people)
        assert row.get("unique_ctr") == (ratio_text(100 * unique / people) if unique else None)
        assert row.get("cost_per_unique_click") == (ratio_text(float(row["spend"]) / unique) if unique else None)
        watched = [
            int(row[f"video_p{part}_watched_actions"][0]["value"])
            for part in (25, 50, 75, 95)
            if f"video_p{part}_watched_actions" in row
        ]
        assert watched == sorted(watched, reverse=True)
        curve = row["video_play_curve_actions"][0]["value"] if "video_play_curve_actions" in row else []
        assert curve == sorted(curve, reverse=True)


def test_values_of_purchases() -> None:
    """Purchases have a value, their return is value over spend, and aliases agree."""
    rows = [row for row in requested(LISTS["airbyte"]) if "action_values" in row]
    assert rows
    for row in rows:
        values = {entry["action_type"]: float(entry["value"]) for entry in row["action_values"]}
        assert len(set(values.values())) == 1
        assert float(row["purchase_roas"][0]["value"]) == pytest.approx(
            values["omni_purchase"] / float(row["spend"]), abs=1e-6
        )


@pytest.mark.parametrize("edge", sorted(LISTS["objects"]))
def test_objects_have_names_and_times(edge: str) -> None:
    """The object fields of dlt and Singer are accepted in lists and by id; names equal those of rows."""
    driven = drive()
    objects = driven.get(f"act_1/{edge}", fields=",".join(LISTS["objects"][edge]))["data"]
    assert objects
    level = edge.removesuffix("s")
    rows = json.loads(driven.insights(fields=f"{level}_id,{level}_name", level=level, date_preset="today").body)["data"]
    names = {row[f"{level}_id"]: row[f"{level}_name"] for row in rows}
    for item in objects:
        assert {"id", "name", "status", "created_time", "updated_time", "account_id"} <= set(item)
        assert item["name"] == names.get(item["id"], item["name"])
        assert driven.get(item["id"], fields=",".join(LISTS["objects"][edge])) == item
    assert names.keys() & {item["id"] for item in objects}


def test_objects_are_filtered() -> None:
    """Lists of objects accept filters by status, id and update time, and return a total count."""
    driven = drive(ads=12)
    every = driven.get("act_1/ads", effective_status='["ACTIVE","ARCHIVED"]', summary="true", limit=500)
    assert every["summary"] == {"total_count": len(every["data"])}

    def matching(*entries: tuple[str, str, Any]) -> list[str]:
        filtering = [{"field": name, "operator": operator, "value": value} for name, operator, value in entries]
        result = driven.get("act_1/ads", filtering=json.dumps(filtering), limit=500, fields="id,updated_time")
        return [item["id"] for item in result["data"]]

    statuses = ("ad.effective_status", "IN", ["ACTIVE", "ARCHIVED"])
    ids = [item["id"] for item in every["data"]]
    assert matching(statuses) == ids
    assert matching(statuses, ("ad.id", "IN", ids[:2])) == ids[:2]
    recent = matching(statuses, ("ad.updated_time", "GREATER_THAN", 1_793_491_200))
    assert recent
    assert len(recent) < len(ids)
    assert matching(("ad.delivery_info", "IN", ["active", "archived", "deleted"])) == ids
    assert matching(statuses, ("ad.name", "STARTS_WITH", "ad 1.")) == [name for name in ids if name[9:13] == "0000"]
    assert error_of(driven.call("act_1/ads", filtering='[{"field":"ad.name","operator":"LIKE","value":["x"]}]')) == (
        100,
        None,
    )
    assert error_of(driven.call("act_1/ads", summary="everything")) == (100, None)
