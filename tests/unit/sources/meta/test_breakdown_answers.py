"""Answers with breakdowns, in the forms that connectors have recorded: every row is read, and none is merged."""

from datetime import date
from typing import Any

import pytest

from adwarm.foundation.errors import Corrupt
from adwarm.model import ColumnTable, QuerySpec, Row, Window
from adwarm.model.breakdowns import HOURLY
from adwarm.prefetch.fetch_result import RowBuffer
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


def unit_of(breakdowns: tuple[str, ...]) -> FetchUnit:
    """Return a request of a day by groups."""
    spec = QuerySpec(level="campaign", breakdowns=breakdowns, action_breakdowns=("action_type", "action_device"))
    return FetchUnit("act_1", (DAY,), Increment.DAY, spec)


def answer(groups: list[dict[str, Any]]) -> dict[str, Any]:
    """Return the body of a response with a row for each group."""
    day = {"date_start": "2026-03-26", "date_stop": "2026-03-26"}
    ids = {"account_id": "1", "campaign_id": "120236392470970093"}
    return {
        "data": [
            {**ids, "impressions": str(100 + index), "spend": "0", **day, **group} for index, group in enumerate(groups)
        ]
    }


@pytest.mark.parametrize("name", ANSWERS)
def test_every_row_of_an_answer_is_kept(name: str) -> None:
    """Groups stay apart and are stored as they are written, with an empty name or without one, in one order."""
    breakdowns, groups = ANSWERS[name]
    unit = unit_of(breakdowns)
    rows = parse_rows(answer(groups))
    check_rows(rows, unit, numeric_ids=True)
    buffer = RowBuffer(unit.spec.identity, rows)
    buffer.add(rows[:1])  # a page that overlaps
    taken = buffer.take(DAY)
    assert len(taken) == len(groups)
    assert all(row in taken for row in rows)
    assert unpack_rows(pack_rows(taken)) == taken
    assert content_hash(reversed(rows)) == content_hash(taken) == content_hash(unpack_rows(pack_rows(taken)))
    assert ColumnTable.from_rows(taken).to_rows() == taken


def test_groups_that_cannot_be_told_apart_are_refused() -> None:
    """Two rows of one group would become one, so the answer is refused; without breakdowns the later row wins."""
    rows = parse_rows(answer([{"region": "Punjab"}, {"region": "Punjab"}]))
    with pytest.raises(Corrupt, match=r"region repeat those of an earlier row \(row 2\)"):
        check_rows(rows, unit_of(("region",)))
    check_rows(rows, unit_of(()))


def test_breakdowns_are_requested_by_name() -> None:
    """The request has both kinds of breakdowns; one without them has neither parameter."""
    params = request_params(unit_of(PLACE), 500)
    assert (params["breakdowns"], params["action_breakdowns"]) == (",".join(PLACE), "action_type,action_device")
    plain = request_params(FetchUnit("act_1", (DAY,), Increment.DAY, QuerySpec()), 500)
    assert not {"breakdowns", "action_breakdowns"} & set(plain)
