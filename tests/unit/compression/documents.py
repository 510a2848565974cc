"""Documents to encode."""

from dataclasses import replace
from datetime import UTC, date, datetime
from typing import Any

from adwarm.model import ColumnTable, Row
from adwarm_client.document import Document, Header, QueryFields, Summary

AT = datetime(2026, 11, 25, 12, tzinfo=UTC)
HEADER = Header(
    account_id="act_1",
    date_range="last_7d",
    report="default",
    since=date(2026, 11, 18),
    until=date(2026, 11, 24),
    time_zone="Europe/Berlin",
    currency="EUR",
    query=QueryFields("0123456789ab", "ad", ("ad_id", "spend", "actions")),
    source="meta",
    api_version="v26.0",
    fetched_at=AT,
    days_fetched_at=AT,
    complete=True,
    settled=False,
    data_version=3,
    missing=None,
)
ACTIONS = [{"action_type": "link_click", "7d_click": "2", "value": "3"}, {"action_type": "purchase", "value": "1"}]
DAILY: list[Row] = [
    {"date_start": "2026-11-18", "ad_id": "9007199254740993", "spend": "5.00", "actions": ACTIONS},
    {"date_start": "2026-11-19", "ad_id": "9007199254740993", "spend": "6.10"},
    {"date_start": "2026-11-19", "ad_id": "9007199254740995", "spend": "-1.5", "actions": ACTIONS[1:]},
]
SUMMARY: list[Row] = [{"ad_id": "9007199254740993", "frequency": "1.5", "reach": "70"}]


def make_document(daily: list[Row], summary: list[Row] | None = None, **header: Any) -> Document:
    """Return a document of these rows."""
    table = None if summary is None else Summary(ColumnTable.from_rows(summary), AT, versions=7, missing=None)
    return Document(replace(HEADER, **header), table, ColumnTable.from_rows(daily))
