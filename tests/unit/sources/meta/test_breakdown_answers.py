"""Answers with breakdowns, as others recorded them and in the forms that they report: no row is lost or merged."""

from datetime import date
from typing import Any

import pytest

from adwarm.foundation.errors import Corrupt
from adwarm.model import ColumnTable, QuerySpec, Row, Window
from adwarm.model.breakdowns import HOURLY
from adwarm.prefetch.fetch_result import FetchResult, RowBuffer, merge_fields
from adwarm.prefetch.gap_filling import describe_missing
from adwarm.sources.meta.response_bodies import parse_rows
from adwarm.sources.meta.source import request_params
from adwarm.sources.protocol import FetchUnit, Increment
from adwarm.sources.row_check import check_rows
from adwarm.store.partition_rows import content_hash, pack_rows, unpack_rows

DAY = Window(date(2026, 3, 26), date(2026, 3, 26))
PLACE = ("publisher_platform", "platform_position")


def actions(*items: tuple[str, str, str]) -> list[Row]:
    """Return a list of actions by type, device and value."""
    return [{"action_type": kind, "action_device": device, "value": value} for kind, device, value in items]


def counts(**values: str) -> list[Row]:
    """Return a list of actions by type."""
    return [{"action_type": kind, "value": value} for kind, value in values.items()]


def group(figures: str, **values: Any) -> Row:
    """Return a group with its impressions, clicks, reach and spend."""
    return dict(zip(("impressions", "clicks", "reach", "spend"), figures.split(), strict=True)) | values


SPAN, SUNDAY = Window(date(2025, 3, 4), date(2025, 3, 21)), Window(date(2021, 2, 21), date(2021, 2, 21))
PURCHASES = (
    *("purchase", "omni_purchase", "onsite_web_purchase", "onsite_web_app_purchase", "web_in_store_purchase"),
    "offsite_conversion.fb_pixel_purchase",
)
RECORDED: list[tuple[Window, tuple[str, ...], list[Row]]] = [
    # An ad of app/tests/creatives_mock.py in milaana1988/fastapi-facebook-creatives.
    (
        SPAN,
        PLACE[:1],
        [
            group("5 0 3 0.01", publisher_platform="audience_network"),
            group(
                "168 13 149 6.49",
                publisher_platform="facebook",
                actions=counts(
                    **dict.fromkeys(PURCHASES, "1"),
                    page_engagement="8",
                    landing_page_view="2",
                    post_engagement="8",
                    link_click="8",
                ),
                unique_actions=counts(link_click="7"),
            ),
            group(
                "36 2 34 1.09",
                publisher_platform="instagram",
                actions=counts(page_engagement="2", post_engagement="2", link_click="2"),
                unique_actions=counts(link_click="2"),
            ),
        ],
    ),
    # An hour of an ad in the documentation of the scripts cost/facebook_ads.
    (
        Window(date(2018, 2, 1), date(2018, 2, 24)),
        (HOURLY,),
        [
            group(
                "98 1 0 0",
                hourly_stats_aggregated_by_advertiser_time_zone="00:00:00 - 00:59:59",
                unique_clicks="0",
                actions=[
                    {"action_target_id": "1267401490056172", "action_type": kind, "value": "1"}
                    for kind in ("link_click", "page_engagement", "post_engagement")
                ],
            )
        ],
    ),
    # Groups of an ad in integration_tests/expected_records.jsonl of Airbyte's source-facebook-marketing.
    (SUNDAY, ("age", "gender"), [group("40 0 38 0.08", age="65+", gender="male")]),
    (SUNDAY, ("country",), [group("725 0 693 0.95", country="US")]),
    (SUNDAY, ("gender",), [group("6 0 6 0.02", gender="unknown")]),
    (SUNDAY, ("region",), [group("7 0 7 0.03", region="Wisconsin")]),
    (
        SUNDAY,
        (*PLACE, "impression_device"),
        [
            group(
                "1 0 1 0",
                publisher_platform="instagram",
                platform_position="instagram_explore",
                impression_device="android_tablet",
            )
        ],
    ),
]
ANSWERS: dict[str, tuple[tuple[str, ...], list[dict[str, Any]]]] = {
    "placements, of platforms that are new or unknown": (
        (*PLACE, "impression_device"),
        [
            dict(zip((*PLACE, "impression_device"), values, strict=True))
            for values in (
                ("instagram", "feed", "iphone"),
                ("facebook", "feed", "iphone"),
                ("facebook", "feed", "other"),
                ("threads", "threads_feed", "android_smartphone"),
                ("unknown", "unknown", "desktop"),
            )
        ],
    ),
    "people whose age or gender is not known": (
        ("age", "gender"),
        [
            {"age": "65+", "gender": "female"},
            {"age": "65+", "gender": "unknown"},
            {"age": "Unknown", "gender": "unknown"},
        ],
    ),
    "groups without a name": (("country",), [{"country": "NO"}, {"country": ""}, {"country": "unknown"}, {}]),
    "regions of other alphabets": (("region",), [{"region": "Nordrhein-Westfalen"}, {"region": "東京都"}]),
    "products by id and name": (
        ("product_id",),
        [{"product_id": "4870261353016209, Sofa, 2 seats"}, {"product_id": "17"}],
    ),
    "hours, with people that are not counted": (
        (HOURLY,),
        [{HOURLY: f"{hour:02}:00:00 - {hour:02}:59:59", "reach": "0", "unique_clicks": "0"} for hour in (0, 7, 23)],
    ),
    "actions by device, a type several times": (
        ("publisher_platform",),
        [
            {
                "publisher_platform": "facebook",
                "actions": actions(("link_click", "iphone", "5"), ("link_click", "desktop", "2")),
            },
            {"publisher_platform": "instagram", "actions": actions(("link_click", "iphone", "3"))},
        ],
    ),
}


def unit_of(breakdowns: tuple[str, ...], window: Window = DAY) -> FetchUnit:
    """Return a request of a day or range by groups."""
    spec = QuerySpec(level="campaign", breakdowns=breakdowns, action_breakdowns=("action_type", "action_device"))
    return FetchUnit("act_1", (window,), Increment.DAY if len(window) == 1 else Increment.RANGE, spec)


def answer(groups: list[dict[str, Any]], window: Window = DAY) -> dict[str, Any]:
    """Return the body of a response with a row for each group."""
    days = {"date_start": str(window.since), "date_stop": str(window.until)}
    ids = {"account_id": "1", "campaign_id": "120236392470970093"}
    return {
        "data": [
            {**ids, "impressions": str(100 + index), "spend": "0", **days, **values}
            for index, values in enumerate(groups)
        ]
    }


def check_kept(breakdowns: tuple[str, ...], groups: list[dict[str, Any]], window: Window = DAY) -> None:
    """Check that every group is read, stored and served as it is written, and stays apart from the others."""
    unit = unit_of(breakdowns, window)
    rows = parse_rows(answer(groups, window))
    check_rows(rows, unit, numeric_ids=True)
    buffer = RowBuffer(unit.spec.identity, rows)
    buffer.add(rows[:1])  # a page that overlaps
    taken = buffer.take(window)
    assert len(taken) == len(groups)
    assert all(row in taken for row in rows)
    assert unpack_rows(pack_rows(taken)) == taken
    assert content_hash(reversed(rows)) == content_hash(taken) == content_hash(unpack_rows(pack_rows(taken)))
    assert ColumnTable.from_rows(taken).to_rows() == taken


@pytest.mark.parametrize("name", ANSWERS)
def test_every_row_of_an_answer_is_kept(name: str) -> None:
    """Groups stay apart and are stored as they are written, with an empty name or without one, in one order."""
    check_kept(*ANSWERS[name])


@pytest.mark.parametrize(("window", "breakdowns", "groups"), RECORDED)
def test_recorded_groups_are_kept(window: Window, breakdowns: tuple[str, ...], groups: list[Row]) -> None:
    """Groups that others recorded keep every figure and action, for a day and for a range."""
    check_kept(breakdowns, groups, window)


def test_groups_that_cannot_be_told_apart_are_refused() -> None:
    """Two rows of one group would become one, so the answer is refused; without breakdowns the later row wins."""
    rows = parse_rows(answer([{"region": "Punjab"}, {"region": "Punjab"}]))
    with pytest.raises(Corrupt, match=r"region repeat those of an earlier row \(row 2\)"):
        check_rows(rows, unit_of(("region",)))
    check_rows(rows, unit_of(()))


def test_rows_without_a_value_never_refuse_an_answer() -> None:
    """Rows of an ad and day without a value are a group of their own: one row, or the same one twice. Where several
    differ, none is taken for it, the ad is named, and all other groups are kept, in one page or in several."""
    unit = unit_of(("region",))
    rows = parse_rows(answer([{"region": "Punjab"}, {}, {}]))
    check_rows(rows, unit, numeric_ids=True)
    for first in ([rows[:2], rows[:2]], [rows[:2]]):
        same = RowBuffer(unit.spec.identity)
        for page in first:
            same.add(page)
        assert (same.take(DAY), same.list_unclear()) == ([rows[1], rows[0]], [])
    split = RowBuffer(unit.spec.identity, rows[:2])
    split.extend(RowBuffer(unit.spec.identity, rows[2:]))
    for buffer in (RowBuffer(unit.spec.identity, rows), RowBuffer(unit.spec.identity, rows, loose_rows=1), split):
        result = FetchResult(buffer, (DAY,))
        [gap] = buffer.list_unclear()
        assert describe_missing([gap], DAY) == (
            "groups unclear: several rows without region, which cannot be told apart, are left out of campaign "
            "120236392470970093"
        )
        fields = merge_fields([result, FetchResult(RowBuffer(unit.spec.identity, rows[:2]))], unit.spec.identity)
        assert fields.list_unclear() == [gap]
        assert buffer.take(DAY) == fields.take(DAY) == rows[:1]


def test_breakdowns_are_requested_by_name() -> None:
    """The request has both kinds of breakdowns; one without them has neither parameter."""
    params = request_params(unit_of(PLACE), 500)
    assert (params["breakdowns"], params["action_breakdowns"]) == (",".join(PLACE), "action_type,action_device")
    plain = request_params(FetchUnit("act_1", (DAY,), Increment.DAY, QuerySpec()), 500)
    assert not {"breakdowns", "action_breakdowns"} & set(plain)
