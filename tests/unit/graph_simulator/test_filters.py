"""Filters select what the platform's operators say, of ids, names and figures."""

import json
from typing import Any

import pytest

from tests.unit.graph_simulator.conftest import drive, error_of

FIELDS = "ad_id,ad_name,campaign_name,impressions,spend,ctr"
ENDED = {"field": "ad.effective_status", "operator": "IN", "value": ["ACTIVE", "ARCHIVED"]}


def rows_of(*entries: tuple[str, str, Any]) -> list[dict[str, str]]:
    """A week of ads, ended ones too, that pass the filters."""
    filtering = [ENDED, *({"field": name, "operator": operator, "value": value} for name, operator, value in entries)]
    rows: list[dict[str, str]] = json.loads(drive().insights(fields=FIELDS, filtering=json.dumps(filtering)).body)[
        "data"
    ]
    return rows


EVERY = rows_of()
NAME, ID = EVERY[0]["ad_name"], EVERY[0]["ad_id"]
SHOWN = sorted(int(row["impressions"]) for row in EVERY)
LOW, HIGH = SHOWN[1], SHOWN[-2]


@pytest.mark.parametrize(
    ("field", "operator", "value", "test"),
    [
        ("ad.id", "EQUAL", ID, lambda row: row["ad_id"] == ID),
        ("ad.id", "NONE", [ID], lambda row: row["ad_id"] != ID),
        ("ad.name", "NOT_CONTAIN", NAME.upper(), lambda row: NAME not in row["ad_name"]),
        ("campaign.name", "STARTS_WITH", "campaign 1", lambda row: row["campaign_name"].startswith("Campaign 1")),
        ("ad.impressions", "GREATER_THAN_OR_EQUAL", HIGH, lambda row: int(row["impressions"]) >= HIGH),
        ("impressions", "IN_RANGE", [LOW, HIGH], lambda row: LOW <= int(row["impressions"]) <= HIGH),
        ("impressions", "NOT_IN_RANGE", [LOW, HIGH], lambda row: not LOW <= int(row["impressions"]) <= HIGH),
        ("spend", "GREATER_THAN", "20.5", lambda row: float(row["spend"]) > 20.5),
    ],
)
def test_each_operator_selects_its_rows(field: str, operator: str, value: Any, test: Any) -> None:
    """Exactly the rows that pass are in the answer, and they are neither all nor none."""
    chosen = [row for row in EVERY if test(row)]
    assert 0 < len(chosen) < len(EVERY)
    assert rows_of((field, operator, value)) == chosen


@pytest.mark.parametrize(
    ("field", "operator", "value"),
    [
        ("ad.colour", "EQUAL", "x"),
        ("ad.name", "GREATER_THAN", "x"),
        ("impressions", "CONTAIN", 1),
        ("impressions", "IN_RANGE", [1]),
        ("impressions", "GREATER_THAN", "many"),
        ("ad.effective_status", "EQUAL", "ACTIVE"),
    ],
)
def test_what_cannot_be_compared_is_an_error(field: str, operator: str, value: Any) -> None:
    """An unknown field, an operator of another kind and a value that is not a number are error 100."""
    filtering = json.dumps([{"field": field, "operator": operator, "value": value}])
    assert error_of(drive().insights(filtering=filtering)) == (100, None)
