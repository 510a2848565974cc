"""The daily table of dbt's package ad_reporting: several platforms in one table, each account under its platform."""

from collections.abc import Callable
from datetime import date
from pathlib import Path
from typing import Any

import pandas as pd
import pytest
from sqlalchemy import create_engine

from adwarm.foundation.errors import BadRequest
from adwarm.model import Account, QuerySpec, Window
from adwarm.sources.parquet import ParquetSource
from adwarm.sources.protocol import Increment, ResultPage, iter_accounts
from adwarm.sources.sql import SqlSource
from adwarm.sources.tabular import TableOptions, TabularSource

WINDOW = Window(date(2026, 11, 23), date(2026, 11, 24))
OPTIONS = TableOptions(layout="ad_reporting", currency="USD")
ACCOUNTS = {
    "google_ads": "2121450128",
    "facebook_ads": "2121450128",
    "microsoft_ads": "Z-1",
    "linkedin_ads": "507",
    "pinterest_ads": "5497",
    "snapchat_ads": "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
    "tiktok_ads": "69910",
    "twitter_ads": "18ce54d4x5t",
    "amazon_ads": "12",
    "reddit_ads": "t2_abc",
    "apple_search_ads": "12",
}
"""Ids of the platforms' forms; two of them are the same number, and so are two others."""


def table() -> pd.DataFrame:
    """Return two days of two ads for each account; the spend of an account is its position, in cents a day and ad."""
    rows = [
        {
            "source_relation": None,
            "date_day": day,
            "platform": platform,
            "account_id": account,
            "account_name": f"Account of {platform}",
            "campaign_id": None if platform == "snapchat_ads" else "c1",
            "campaign_name": None if platform == "snapchat_ads" else "Campaign",
            "ad_group_id": None if platform == "snapchat_ads" else "g1",
            "ad_group_name": None if platform == "snapchat_ads" else "Group",
            "ad_id": ad,
            "ad_name": None if platform == "linkedin_ads" else f"Ad {ad}",
            "clicks": number,
            "impressions": 100 * number,
            "spend": number / 100,
            "conversions": number / 2,
            "conversions_value": None,
        }
        for number, (platform, account) in enumerate(ACCOUNTS.items(), 1)
        for day in ("2026-11-23", "2026-11-24")
        for ad in ("1", "2")
    ]
    return pd.DataFrame(rows)


def parquet(folder: Path) -> ParquetSource:
    """The table as a file."""
    table().to_parquet(folder / "ads.parquet")
    return ParquetSource(str(folder / "ads.parquet"), OPTIONS)


def sql(folder: Path) -> SqlSource:
    """The table in a database, under the package's own name."""
    url = f"sqlite:///{folder}/ads.db"
    table().to_sql("ad_reporting__ad_report", create_engine(url), index=False)
    return SqlSource(url, options=OPTIONS)


def read(source: TabularSource, account: str, increment: Increment = Increment.DAY) -> list[dict[str, Any]]:
    """Return the rows of an account."""
    fields = (
        "account_name",
        "campaign_id",
        "adset_id",
        "adset_name",
        "ad_name",
        "clicks",
        "impressions",
        "spend",
        "ctr",
    )
    (unit,) = source.plan(Account(account), [WINDOW], increment, QuerySpec(fields=fields))
    page = source.submit(unit)
    assert isinstance(page, ResultPage)
    return page.rows


@pytest.mark.parametrize("make", [parquet, sql])
def test_each_account_is_under_its_platform(tmp_path: Path, make: Callable[[Path], TabularSource]) -> None:
    """Equal numbers of two platforms are two accounts, and each has its own rows, whose sums are the table's."""
    source, frame = make(tmp_path), table()
    listed = [account.id for account in iter_accounts(source)]
    assert sorted(listed) == sorted(f"{platform}:{account}" for platform, account in ACCOUNTS.items())
    for account in listed:
        assert source.get_account(account).currency == "USD"
        own = frame[frame["platform"] + ":" + frame["account_id"] == account]
        rows = read(source, account)
        assert {row["account_id"] for row in rows} == {account}
        assert len(rows) == len(own) == 4
        for increment in Increment:
            for name in ("clicks", "impressions", "spend"):
                total = sum(float(row[name]) for row in read(source, account, increment))
                assert total == pytest.approx(own[name].sum()), (account, name)


def test_the_platforms_words_become_those_of_reports(tmp_path: Path) -> None:
    """An ad group is an ad set; what a platform does not say is missing from its rows."""
    source = sql(tmp_path)
    row = read(source, "google_ads:2121450128")[0]
    assert (row["adset_id"], row["adset_name"], row["campaign_id"], row["ad_name"]) == ("g1", "Group", "c1", "Ad 1")
    snapchat = read(source, f"snapchat_ads:{ACCOUNTS['snapchat_ads']}")[0]
    assert not {"campaign_id", "adset_id", "reach"} & set(snapchat)
    assert "ad_name" not in read(source, "linkedin_ads:507")[0]


def test_an_account_of_another_platform_has_no_row(tmp_path: Path) -> None:
    """A number alone, or behind a platform that has it not, is an unknown account."""
    source = sql(tmp_path)
    for account in ("act_2121450128", "tiktok_ads:2121450128", "google_ads"):
        with pytest.raises(BadRequest, match="no row of"):
            source.get_account(account)
