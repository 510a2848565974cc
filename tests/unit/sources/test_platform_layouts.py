"""Tables of Google Ads, TikTok, Pinterest and LinkedIn as Fivetran and Airbyte write them.

NOTICE: rows of `integration_tests/seeds` of fivetran/dbt_google_ads, dbt_tiktok_ads, dbt_pinterest_source and
dbt_linkedin_source (Apache License 2.0), each with the columns that are read.
"""

from datetime import date
from decimal import Decimal
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import create_engine

from adwarm.foundation.errors import BadRequest
from adwarm.model import QuerySpec, Row, Window
from adwarm.sources.protocol import Increment, ResultPage
from adwarm.sources.sql import SqlSource
from adwarm.sources.tabular import TableOptions

Table = list[dict[str, Any]]
FIELDS = (
    "campaign_id",
    "adset_id",
    "ad_id",
    "ad_name",
    "adset_name",
    "campaign_name",
    "impressions",
    "clicks",
    "spend",
)


def seed(names: str, *lines: str) -> Table:
    """Return the rows of a CSV file, its numbers as numbers."""
    rows = [dict(zip(names.split(","), line.split(","), strict=False)) for line in lines]
    return [
        {key: (int(text) if text.isdecimal() else float(text) if text.replace(".", "", 1).isdecimal() else text or None)
         for key, text in row.items()}
        for row in rows
    ]  # fmt: skip


GOOGLE = seed(
    "customer_id,date,ad_network_type,device,ad_id,campaign_id,clicks,cost_micros,impressions,_fivetran_synced",
    "2121450128,2021-05-19,SEARCH,DESKTOP,514818869462,10059986060,0,0,1,2021-05-19 12:00:00",
    "2121450128,2021-05-22,SEARCH,MOBILE,514818869462,10059986060,0,0,1",
    "2121450128,2021-05-20,SEARCH,DESKTOP,514818869462,10059986060,0,0,1",
)
GOOGLE_ADS = seed(
    "ad_group_id,id,name,updated_at",
    "100031227574,514818869462,,2021-07-25T20:38:32.170",
    "100031227574,514818869462,,2021-09-28T10:14:25",
)
PINTEREST = seed(
    "date,pin_promotion_id,ad_group_id,campaign_id,advertiser_id,_fivetran_synced,impression_1,impression_2,"
    "clickthrough_1,clickthrough_2,spend_in_micro_dollar",
    "2023-06-01,687237616200,2680072242253,626746449918,549764253315,2023-06-30,15000,15000,450,450,2250000000",
    "2023-06-02,687237616200,2680072242253,626746449918,549764253315,2023-06-30,16500,16500,495,495,2475000000",
)
TIKTOK = seed(
    "ad_id,stat_time_hour,impressions,clicks,reach,cost_per_result,spend,_fivetran_synced",
    "1,2021-09-15 10:00:00,23,0,0,0,2.22,2021-09-15 15:56:34.862",
    "2,2021-09-15 10:00:00,22,0,0,0,0.22,2021-09-15 15:56:34.953",
    "4,2021-09-15 10:00:00,22,2,0,0.22,2,2021-09-15 15:56:34.950",
)
LINKEDIN = seed(
    "creative_id,day,clicks,impressions,cost_in_local_currency,cost_in_usd",
    "112590914,2020-10-17 00:00:00,,,,",
    "44900356,2018-06-15 00:00:00,13,317,,",
    "44900346,2018-05-30 00:00:00,5,249,,",
)
CREATIVES = seed("id,campaign_id,created_time", "44900356,125600246,2017-06-08 21:46:06")


def read(
    folder: Path, layout: str, tables: dict[str, Table], window: Window, account: str, **options: Any
) -> list[Row]:
    """Return the daily rows of the first table."""
    url = f"sqlite:///{folder / 'warehouse.db'}"
    engine = create_engine(url)
    for name, rows in tables.items():
        pd.DataFrame(rows).to_sql(name, engine, index=False, if_exists="replace")
    engine.dispose()
    source = SqlSource(url, next(iter(tables)), options=TableOptions(layout=layout, **options))
    (unit,) = source.plan(source.get_account(account), [window], Increment.DAY, QuerySpec(fields=FIELDS))
    page = source.submit(unit)
    assert isinstance(page, ResultPage)
    return list(page.rows)


def totals(rows: list[Row]) -> tuple[Decimal, Decimal, Decimal]:
    """Return the sums of impressions, clicks and spend."""
    impressions, clicks, spend = (
        sum((Decimal(row[name]) for row in rows), Decimal(0)) for name in ("impressions", "clicks", "spend")
    )
    return impressions, clicks, spend


def test_google_ads_rows_of_devices_are_one(tmp_path: Path) -> None:
    """An account is called by its digits; devices and networks of a day add up, each in its newest load."""
    more = [
        GOOGLE[0] | {"device": "MOBILE", "clicks": 2, "cost_micros": 1_234_567, "impressions": 40},
        GOOGLE[0] | {"ad_network_type": "CONTENT", "clicks": 1, "cost_micros": 5_000, "impressions": 9},
        GOOGLE[0] | {"impressions": 3, "_fivetran_synced": "2021-05-20 12:00:00"},
    ]
    window = Window(date(2021, 5, 19), date(2021, 5, 22))
    tables = {"ad_stats": GOOGLE + more, "ad_history": GOOGLE_ADS}
    rows = read(tmp_path, "google_ads", tables, window, "2121450128")
    assert [row["date_start"] for row in rows] == ["2021-05-19", "2021-05-20", "2021-05-22"]
    assert {row["account_id"] for row in rows} == {"2121450128"}
    assert {(row["campaign_id"], row["adset_id"], row["ad_id"]) for row in rows} == {
        ("10059986060", "100031227574", "514818869462")
    }
    assert totals(rows[:1]) == (Decimal(52), Decimal(3), Decimal("1.24"))
    assert totals(rows[1:]) == (Decimal(2), Decimal(0), Decimal(0))
    with pytest.raises(BadRequest, match="no row of act_2121450128"):
        read(tmp_path, "google_ads", tables, window, "act_2121450128")


def test_google_ads_as_airbyte_names_its_columns(tmp_path: Path) -> None:
    """Dots and underscores in the names of columns are the same; the currency is that of the rows."""
    names = {
        "customer_id": "customer.id",
        "date": "segments.date",
        "ad_network_type": "segments.ad_network_type",
        "ad_id": "ad_group_ad.ad.id",
        "campaign_id": "campaign_id",
        "clicks": "metrics.clicks",
        "cost_micros": "METRICS.COST_MICROS",
        "impressions": "metrics_impressions",
    }
    rows = [{names[key]: value for key, value in row.items() if key in names} for row in GOOGLE]
    rows = [row | {"customer.currency_code": "EUR", "ad_group.id": 5} for row in rows]
    found = read(tmp_path, "google_ads", {"t": rows}, Window(date(2021, 5, 19), date(2021, 5, 22)), "2121450128")
    assert totals(found) == (Decimal(3), Decimal(0), Decimal(0))
    assert {row["adset_id"] for row in found} == {"5"}


def test_pinterest_counts_are_of_both_kinds(tmp_path: Path) -> None:
    """Paid and earned figures add up, and micro dollars are money."""
    window = Window(date(2023, 6, 1), date(2023, 6, 2))
    rows = read(tmp_path, "pinterest_ads", {"pin_promotion_report": PINTEREST}, window, "549764253315")
    assert [row["ad_id"] for row in rows] == ["687237616200"] * 2
    assert totals(rows) == (Decimal(63_000), Decimal(1_890), Decimal(4_725))
    assert rows[0]["spend"] == "2250.00"


def test_tiktok_hours_are_a_day(tmp_path: Path) -> None:
    """The table names no account, so a constant does; hours add up, and reach does not."""
    rows = [*TIKTOK, TIKTOK[0] | {"stat_time_hour": "2021-09-15 11:00:00", "spend": 1, "impressions": 7}]
    day = Window(date(2021, 9, 15), date(2021, 9, 15))
    found = read(tmp_path, "tiktok_ads", {"hours": rows}, day, "6937760904977055745",
                 constants={"account_id": "6937760904977055745"})  # fmt: skip
    assert totals(found) == (Decimal(74), Decimal(2), Decimal("5.44"))
    assert found[0]["impressions"] == "30"
    assert "reach" not in found[0]
    with pytest.raises(BadRequest, match="account_id"):
        read(tmp_path, "tiktok_ads", {"hours": rows}, day, "1")


def test_linkedin_creatives_are_ads(tmp_path: Path) -> None:
    """A creative is an ad and its campaign an ad set; a row of nulls is no delivery."""
    analytics = [*LINKEDIN[:2], LINKEDIN[2] | {"cost_in_local_currency": "1.5", "cost_in_usd": 9}]
    tables, constants = {"by_creative": analytics, "creative_history": CREATIVES}, {"account_id": "507515057"}
    none, rows = (
        read(tmp_path, "linkedin_ads", tables, Window(first, last), "507515057", constants=constants)
        for first, last in ((date(2020, 10, 1), date(2020, 10, 31)), (date(2018, 5, 1), date(2018, 6, 30)))
    )
    assert none == []
    assert totals(rows) == (Decimal(566), Decimal(18), Decimal("1.50"))
    assert [(row["ad_id"], row.get("adset_id")) for row in rows] == [("44900346", None), ("44900356", "125600246")]
