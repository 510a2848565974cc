"""Tables as Fivetran, Airbyte, dlt and Singer write them give the sums that those tools' own models give.

The tables have the columns and types of the tools' public schemas, cited with each; their figures are made up here.
"""

from collections.abc import Iterator
from datetime import date, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine, create_engine, text

from adwarm.foundation.errors import AdwarmError, BadRequest
from adwarm.model import Account, QuerySpec, Row, Window
from adwarm.settings import FatigueSettings
from adwarm.sources.layouts import LAYOUTS, LOADED_AT, find_columns, get_layout
from adwarm.sources.protocol import Increment, ResultPage, iter_accounts
from adwarm.sources.sql import SqlSource
from adwarm.sources.tabular import TableOptions
from tests.support.fatigue_scores import score_rows

WEEK = Window(date(2026, 11, 1), date(2026, 11, 7))
FIELDS = ("campaign_id", "adset_id", "campaign_name", "ad_name", "impressions", "clicks", "inline_link_clicks", "spend")


@pytest.fixture(params=["sqlite", pytest.param("postgresql", marks=pytest.mark.postgres)])
def warehouse(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Engine]:
    """An empty database; on PostgreSQL with a schema `facebook_ads` on the search path."""
    if request.param == "sqlite":
        engine = create_engine(f"sqlite:///{tmp_path}/warehouse.db")
    else:
        url = request.getfixturevalue("postgres_url")
        engine = create_engine(url, connect_args={"options": "-c search_path=facebook_ads -c timezone=Asia/Tokyo"})
        with engine.begin() as connection:
            connection.execute(text("DROP SCHEMA IF EXISTS facebook_ads CASCADE"))
            connection.execute(text("CREATE SCHEMA facebook_ads"))
    yield engine
    engine.dispose()


def create_table(engine: Engine, table: str, columns: dict[str, str], *rows: tuple[Any, ...]) -> None:
    """Create a table with rows; SQLite has no times with a zone and stores them as text."""
    plain = engine.dialect.name == "sqlite"
    types = {name: "text" if plain and kind in {"timestamptz", "jsonb"} else kind for name, kind in columns.items()}
    with engine.begin() as connection:
        connection.execute(text(f"CREATE TABLE {table} ({', '.join(f'{n} {kind}' for n, kind in types.items())})"))
        names = [f":{name}" if plain else f"CAST(:{name} AS {kind})" for name, kind in types.items()]
        for row in rows:
            values = dict(zip(types, row, strict=True))
            connection.execute(text(f"INSERT INTO {table} VALUES ({', '.join(names)})"), values)


def rows_of(
    source: SqlSource, level: str = "ad", increment: Increment = Increment.DAY, account: str = "act_17"
) -> list[Row]:
    """The rows of a week."""
    spec = QuerySpec(level, FIELDS)
    (unit,) = source.plan(Account(account), [WEEK], increment, spec)
    page = source.submit(unit)
    assert isinstance(page, ResultPage)
    return page.rows


def sums_of(rows: list[Row], *by: str, clicks: str = "clicks") -> dict[tuple[str, ...], tuple[float, float, float]]:
    """Impressions, clicks and spend of rows by some fields."""
    return {
        tuple(row[name] for name in by): tuple(float(row.get(name, 0)) for name in ("impressions", clicks, "spend"))
        for row in rows
    }


def query_sums(engine: Engine, query: str) -> dict[tuple[str, ...], tuple[float, ...]]:
    """The result of a tool's own model, written as a query: the last three columns are the sums."""
    with engine.connect() as connection:
        rows = [tuple(row) for row in connection.execute(text(query))]
    return {tuple(str(word) for word in row[:-3]): tuple(float(figure) for figure in row[-3:]) for row in rows}


# Columns: fivetran/dbt_facebook_ads, macros/staging/get_basic_ad_columns.sql, get_ad_history_columns.sql and
# get_account_history_columns.sql; shape of the rows: its integration_tests/seeds. There are no `clicks` and no campaign
# in `basic_ad`; null link clicks are zeros, as in models/staging/stg_facebook_ads__basic_ad.sql.
BASIC_AD = {
    "ad_id": "text",
    "date": "date",
    "account_id": "bigint",
    "impressions": "bigint",
    "inline_link_clicks": "bigint",
    "spend": "double precision",
    "reach": "bigint",
    "frequency": "double precision",
    "ad_name": "text",
    "adset_name": "text",
    "_fivetran_synced": "timestamptz",
}
SYNCED = "2026-11-08 04:00:00+00:00"
BASIC_ROWS = [
    ("901", "2026-11-02", 17, 4210, 11, 76.53, 3800, 1.108, "blue", "women", SYNCED),
    ("902", "2026-11-02", 17, 2570, None, 55.26, 2100, 1.224, "red", "women", SYNCED),
    ("903", "2026-11-02", 17, 880, 3, 12.05, 800, 1.1, "green", "men", SYNCED),
    ("901", "2026-11-03", 17, 4033, 14, 74.999, 3700, 1.09, "blue", "women", SYNCED),
    ("903", "2026-11-03", 17, 0, 0, 0.31, 0, None, "green", "men", SYNCED),
    ("901", "2026-11-03", 18, 99, 9, 9.0, 90, 1.1, "foreign", "women", SYNCED),
]
AD_HISTORY = {
    "id": "bigint",
    "account_id": "bigint",
    "ad_set_id": "bigint",
    "campaign_id": "bigint",
    "creative_id": "bigint",
    "name": "text",
    "updated_time": "timestamptz",
    "_fivetran_synced": "timestamptz",
}
AD_VERSIONS = [
    (901, 17, 71, 51, 1, "blue", "2026-10-01 10:00:00+00:00", SYNCED),
    (902, 17, 71, 50, 2, "old red", "2026-10-01 10:00:00+00:00", SYNCED),
    (902, 17, 71, 51, 2, "red", "2026-10-20 10:00:00+00:00", SYNCED),
    (903, 17, 72, 52, 3, "green", "2026-10-02 10:00:00+00:00", SYNCED),
]
CAMPAIGN_HISTORY = {"id": "bigint", "account_id": "bigint", "name": "text", "updated_time": "timestamptz"}
ACCOUNT_HISTORY = {
    "id": "bigint",
    "_fivetran_synced": "timestamptz",
    "name": "text",
    "currency": "text",
    "timezone_name": "text",
}
NEWEST_AD = (
    "SELECT id, campaign_id, ad_set_id FROM (SELECT *, row_number() OVER (PARTITION BY id ORDER BY updated_time DESC) "
    "n FROM ad_history) v WHERE n = 1"
)


def fivetran(engine: Engine) -> SqlSource:
    """Fivetran's tables, with their own layout."""
    create_table(engine, "basic_ad", BASIC_AD, *BASIC_ROWS)
    create_table(engine, "ad_history", AD_HISTORY, *AD_VERSIONS)
    create_table(
        engine,
        "campaign_history",
        CAMPAIGN_HISTORY,
        (51, 17, "Spring", "2026-10-01 10:00:00+00:00"),
        (51, 17, "Autumn", "2026-10-09 10:00:00+00:00"),
        (52, 17, "Men", "2026-10-01 10:00:00+00:00"),
    )
    create_table(
        engine,
        "account_history",
        ACCOUNT_HISTORY,
        (17, "2026-11-01 04:00:00+00:00", "Shop", "USD", "America/New_York"),
        (17, SYNCED, "Shop", "EUR", "Europe/Berlin"),
    )
    return SqlSource(engine, "basic_ad" if engine.dialect.name == "sqlite" else None, TableOptions(layout="fivetran"))


def test_fivetran_ads(warehouse: Engine) -> None:
    """Ad rows equal those of `basic_ad`, of one account, with campaign and ad set of the newest version."""
    found = rows_of(fivetran(warehouse))
    assert len(found) == 5
    assert found[1] == {
        "account_id": "17",
        "ad_id": "902",
        "campaign_id": "51",
        "adset_id": "71",
        "campaign_name": "Autumn",
        "ad_name": "red",
        "date_start": "2026-11-02",
        "date_stop": "2026-11-02",
        "impressions": "2570",
        "inline_link_clicks": "0",
        "spend": "55.26",
    }


@pytest.mark.parametrize(("level", "column"), [("campaign", "campaign_id"), ("adset", "ad_set_id")])
def test_fivetran_reports_above_the_ad(warehouse: Engine, level: str, column: str) -> None:
    """Campaign and ad set reports equal the package's: daily sums joined to the newest version of each ad."""
    source = fivetran(warehouse)
    model = (
        "SELECT {} SUM(b.impressions), SUM(COALESCE(b.inline_link_clicks, 0)), {} FROM basic_ad b "
        f"LEFT JOIN ({NEWEST_AD}) a ON CAST(a.id AS text) = b.ad_id WHERE b.account_id = 17 GROUP BY {{}}"
    )
    money = "ROUND(CAST(SUM(b.spend) AS numeric), 2)"
    days = query_sums(warehouse, model.format(f"b.date, a.{column},", money, f"b.date, a.{column}"))
    assert sums_of(rows_of(source, level), "date_start", f"{level}_id", clicks="inline_link_clicks") == days
    whole = query_sums(warehouse, model.format(f"a.{column},", money, f"a.{column}"))
    found = rows_of(source, level, Increment.RANGE)
    assert sums_of(found, f"{level}_id", clicks="inline_link_clicks") == whole
    assert all({"ad_id", "ad_name", "reach"}.isdisjoint(row) for row in found)


def test_fivetran_account(warehouse: Engine) -> None:
    """Zone and currency of the account come from its newest version, unless the connection sets them."""
    source = fivetran(warehouse)
    assert source.get_account("act_17") == Account("act_17", "Europe/Berlin", "Europe/Berlin", "EUR")
    assert list(iter_accounts(source)) == [source.get_account("act_17"), Account("act_18")]
    own = SqlSource(warehouse, "basic_ad", TableOptions(layout="fivetran", data_zone="Asia/Tokyo", currency="JPY"))
    assert own.get_account("act_17") == Account("act_17", "Asia/Tokyo", "Asia/Tokyo", "JPY")


def test_fivetran_ads_are_scored_by_their_link_clicks(warehouse: Engine) -> None:
    """An ad that lost its link clicks for a week is scored for it; the table has no clicks, and the score says so."""
    as_of = date(2026, 11, 24)
    days = [as_of - timedelta(days=back) for back in range(33)]
    rows = [
        ("901", str(day), 17, 10_000, 20 if day > as_of - timedelta(days=7) else 100, 50.0, 9000, 1.1, "b", "w", SYNCED)
        for day in days
    ]
    create_table(warehouse, "basic_ad", BASIC_AD, *rows)
    source = SqlSource(warehouse, "basic_ad", TableOptions(layout="fivetran"))
    (unit,) = source.plan(Account("act_17"), [Window(days[-1], as_of)], Increment.DAY, QuerySpec())
    page = source.submit(unit)
    assert isinstance(page, ResultPage)
    (score,) = score_rows(page.rows, [], as_of, FatigueSettings())
    assert score.creative == pytest.approx(100, abs=3)
    assert score.status == "critical"
    assert {"clicks_missing", "link_clicks_used", "frequency_missing"} <= set(score.baseline["flags"])


def test_fivetran_without_its_history(warehouse: Engine) -> None:
    """Without a synced history, ads are read as they are, and a campaign report says what is missing."""
    create_table(warehouse, "basic_ad", BASIC_AD, *BASIC_ROWS)
    source = SqlSource(warehouse, "basic_ad", TableOptions(layout="fivetran"))
    assert {"campaign_id", "adset_id"}.isdisjoint(rows_of(source)[0])
    with pytest.raises(BadRequest, match="does not say its campaign_id"):
        rows_of(source, "campaign")


# Columns: airbytehq/airbyte, source-facebook-marketing, schemas/ads_insights.json, as destination-postgres types them;
# the metadata columns: Airbyte's documentation, "Airbyte metadata fields". The key is date_start, account_id, ad_id.
ADS_INSIGHTS = {
    "_airbyte_raw_id": "text",
    "_airbyte_extracted_at": "timestamptz",
    "_airbyte_meta": "jsonb",
    "_airbyte_generation_id": "bigint",
    "account_currency": "text",
    "account_id": "text",
    "actions": "jsonb",
    "ad_id": "text",
    "ad_name": "text",
    "adset_id": "text",
    "campaign_id": "text",
    "campaign_name": "text",
    "clicks": "bigint",
    "date_start": "date",
    "date_stop": "date",
    "impressions": "bigint",
    "inline_link_clicks": "bigint",
    "reach": "bigint",
    "spend": "numeric(38,9)",
}
ACTIONS = '[{"value": 2.0, "7d_click": 2, "1d_view": null, "action_type": "purchase"}]'


def _insight(uuid: str, at: str, ad: str, day: str, *figures: Any, campaign: str = "51") -> tuple[Any, ...]:
    impressions, clicks, links, spend = figures
    return (
        uuid,
        f"2026-11-{at}+00:00",
        '{"sync_id": 7, "changes": []}',
        0,
        "EUR",
        "17",
        ACTIONS,
        ad,
        f"ad {ad}",
        "71",
        campaign,
        "Autumn",
        clicks,
        day,
        day,
        impressions,
        links,
        impressions,
        spend,
    )


INSIGHTS = [
    _insight("a", "03 04:00:00.120", "901", "2026-11-02", 4000, 21, 10, 70.0),
    _insight("b", "03 04:00:00.121", "902", "2026-11-02", 2570, 9, None, 55.26),
    _insight("c", "04 04:00:00.118", "901", "2026-11-02", 4210, 22, 11, 76.53),
    _insight("d", "04 04:00:00.119", "902", "2026-11-02", 2571, 9, None, 55.27),
    _insight("e", "04 04:00:00.120", "903", "2026-11-03", 880, 5, 3, 12.05, campaign="52"),
]
DEDUPED = (
    "(SELECT * FROM (SELECT *, row_number() OVER (PARTITION BY date_start, account_id, ad_id "
    "ORDER BY _airbyte_extracted_at DESC) n FROM ads_insights) v WHERE n = 1) d"
)


@pytest.mark.parametrize("level", ["ad", "campaign"])
def test_airbyte_appended(warehouse: Engine, level: str) -> None:
    """A table in append mode gives the rows of append and deduped mode: each key's last extraction, once."""
    create_table(warehouse, "ads_insights", ADS_INSIGHTS, *INSIGHTS)
    source = SqlSource(warehouse, options=TableOptions(layout="airbyte"))
    model = f"SELECT {{}} SUM(impressions), SUM(clicks), SUM(spend) FROM {DEDUPED} GROUP BY {{}}"
    days = query_sums(warehouse, model.format(f"date_start, {level}_id,", f"date_start, {level}_id"))
    assert sums_of(rows_of(source, level), "date_start", f"{level}_id") == days
    whole = query_sums(warehouse, model.format(f"{level}_id,", f"{level}_id"))
    assert sums_of(rows_of(source, level, Increment.RANGE), f"{level}_id") == whole
    assert list(iter_accounts(source)) == [source.get_account("act_17")] == [Account("act_17", currency="EUR")]


def test_airbyte_actions(warehouse: Engine) -> None:
    """Actions are lists with text figures and without nulls, as the platform sends them."""
    create_table(warehouse, "ads_insights", ADS_INSIGHTS, *INSIGHTS)
    source = SqlSource(warehouse, options=TableOptions(layout="airbyte"))
    (unit,) = source.plan(Account("act_17"), [WEEK], Increment.DAY, QuerySpec(fields=("actions",)))
    page = source.submit(unit)
    assert isinstance(page, ResultPage)
    assert page.rows[0]["actions"] == [{"value": "2", "7d_click": "2", "action_type": "purchase"}]


def test_airbyte_of_earlier_versions(warehouse: Engine) -> None:
    """Tables from before Destinations V2 mark the newest row by `_airbyte_emitted_at`."""
    names = {"_airbyte_extracted_at": "_airbyte_emitted_at", "_airbyte_raw_id": "_airbyte_ab_id"}
    create_table(
        warehouse, "ads_insights", {names.get(name, name): kind for name, kind in ADS_INSIGHTS.items()}, *INSIGHTS
    )
    found = rows_of(SqlSource(warehouse, options=TableOptions(layout="airbyte")), "account", Increment.RANGE)
    assert sums_of(found, "account_id") == {("17",): (7661.0, 36.0, 143.85)}


# Fields, types and key: dlt-hub/verified-sources, sources/facebook_ads/settings.py (DEFAULT_INSIGHT_FIELDS,
# INSIGHT_FIELDS_TYPES, INSIGHTS_PRIMARY_KEY): days are timestamps, and there is no account. `_dlt_loads`: dlt's tables.
FACEBOOK_INSIGHTS = {
    "campaign_id": "bigint",
    "adset_id": "bigint",
    "ad_id": "bigint",
    "date_start": "timestamptz",
    "date_stop": "timestamptz",
    "reach": "bigint",
    "impressions": "bigint",
    "frequency": "numeric(38,9)",
    "clicks": "bigint",
    "unique_clicks": "bigint",
    "ctr": "numeric(38,9)",
    "cpm": "numeric(38,9)",
    "spend": "numeric(38,9)",
    "_dlt_load_id": "text",
    "_dlt_id": "text",
}
DLT_LOADS = {
    "load_id": "text",
    "schema_name": "text",
    "status": "bigint",
    "inserted_at": "timestamptz",
    "schema_version_hash": "text",
}


def _loaded(load: str, ad: int, day: int, *figures: Any, campaign: int = 51) -> tuple[Any, ...]:
    impressions, clicks, spend = figures
    at = f"2026-11-0{day} 00:00:00+00:00"
    return (
        campaign,
        71,
        ad,
        at,
        at,
        impressions,
        impressions,
        1.0,
        clicks,
        clicks,
        1.0,
        1.0,
        spend,
        load,
        f"{load}{ad}",
    )


LOADED = [
    _loaded("999999999.5", 901, 1, 100, 1, 1.0),
    _loaded("1793700000.25", 901, 2, 4000, 21, 70.0),
    _loaded("1793700000.25", 902, 2, 2570, 9, 55.26),
    _loaded("1793786400.125", 901, 2, 4210, 22, 76.53),
    _loaded("1793786400.125", 903, 3, 880, 5, 12.05, campaign=52),
    _loaded("1793872800.75", 903, 3, 1, 1, 999.0, campaign=52),
]
COMPLETED = (
    "(SELECT * FROM (SELECT i.*, row_number() OVER (PARTITION BY campaign_id, adset_id, ad_id, date_start "
    "ORDER BY CAST(_dlt_load_id AS numeric) DESC) n FROM facebook_insights i "
    "JOIN _dlt_loads l ON l.load_id = i._dlt_load_id AND l.status = 0) v WHERE n = 1) d"
)


def dlt(engine: Engine, **options: Any) -> SqlSource:
    """dlt's tables in append mode; the last load is incomplete."""
    create_table(engine, "facebook_insights", FACEBOOK_INSIGHTS, *LOADED)
    done = [*dict.fromkeys(row[-2] for row in LOADED)][:-1]
    create_table(engine, "_dlt_loads", DLT_LOADS, *((load, "facebook_ads", 0, SYNCED, "h") for load in done))
    return SqlSource(engine, options=TableOptions(layout="dlt", **options))


@pytest.mark.parametrize("level", ["ad", "campaign"])
def test_dlt_appended(warehouse: Engine, level: str) -> None:
    """Each key's last completed load counts, loads compare as numbers, and days are UTC days in any session."""
    source = dlt(warehouse, constants={"account_id": "act_17"})
    found = rows_of(source, level, Increment.RANGE)
    model = f"SELECT {level}_id, SUM(impressions), SUM(clicks), SUM(spend) FROM {COMPLETED} GROUP BY {level}_id"
    assert sums_of(found, f"{level}_id") == query_sums(warehouse, model)
    assert {row["date_start"] for row in rows_of(source)} == {"2026-11-01", "2026-11-02", "2026-11-03"}


def test_dlt_account(warehouse: Engine) -> None:
    """An account that is not in the rows is a constant; no other account can be read."""
    source = dlt(warehouse, constants={"account_id": "17"}, currency="EUR")
    assert list(iter_accounts(source)) == [Account("act_17", currency="EUR")]
    assert {row["account_id"] for row in rows_of(source)} == {"17"}
    for ask in (source.get_account, lambda account: rows_of(source, account=account)):
        with pytest.raises(BadRequest, match="act_18"):
            ask("act_18")
    with pytest.raises(BadRequest, match=r"no column account_id .*constant"):
        rows_of(SqlSource(warehouse, options=TableOptions(layout="dlt")))


def test_dlt_loads_that_are_not_listed_any_more(warehouse: Engine) -> None:
    """Loads older than the first listed one count as completed; without a list every load does."""
    source = dlt(warehouse, constants={"account_id": "17"})
    before = rows_of(source)
    with warehouse.begin() as connection:
        connection.execute(text("DELETE FROM _dlt_loads WHERE load_id IN ('999999999.5', '1793700000.25')"))
    assert rows_of(source) == before
    with warehouse.begin() as connection:
        connection.execute(text("DELETE FROM _dlt_loads"))
    assert rows_of(source)[-1]["spend"] == "999.00"


def test_dlt_by_campaign(warehouse: Engine) -> None:
    """A table loaded by campaign says so; dlt's placeholders for missing ids are not ids."""
    columns = FACEBOOK_INSIGHTS | {"ad_id": "text", "adset_id": "text"}
    rows = [(row[0], "no_adset_id", "no_ad_id", *row[3:]) for row in (LOADED[0], LOADED[4])]
    create_table(warehouse, "facebook_insights", columns, *rows)
    source = SqlSource(warehouse, options=TableOptions(layout="dlt", level="campaign", constants={"account_id": "17"}))
    assert [(row["campaign_id"], "ad_id" in row) for row in rows_of(source, "campaign")] == [
        ("51", False),
        ("52", False),
    ]
    with pytest.raises(BadRequest, match="no rows by 'ad', only by account, campaign"):
        rows_of(source)
    wrong = SqlSource(warehouse, options=TableOptions(layout="dlt", constants={"account_id": "17"}))
    with pytest.raises(AdwarmError, match=r"ad_id is missing .*ADWARM_SOURCE__LEVEL"):
        rows_of(wrong)


def test_the_precedence_of_column_names() -> None:
    """A column map wins over the layout, the layout over the field's own name, and that over its aliases."""
    layout = LAYOUTS["fivetran"]
    present = ["DATE", "date_start", "ad_account_id", "cost", "spend", "_FIVETRAN_SYNCED", "etl"]
    found = find_columns(present, layout, {})
    assert (found["date_start"], found["spend"], found["account_id"]) == ("DATE", "spend", "ad_account_id")
    assert found[LOADED_AT] == "_FIVETRAN_SYNCED"
    found = find_columns(present, layout, {"spend": "Cost", LOADED_AT: "etl"})
    assert (found["spend"], found[LOADED_AT]) == ("cost", "etl")
    with pytest.raises(BadRequest, match="'kost' for spend"):
        find_columns(present, layout, {"spend": "kost"})
    with pytest.raises(BadRequest, match="the layouts are ad_reporting, airbyte, dlt, fivetran"):
        get_layout("stitch")


# Columns: singer-io/tap-facebook 1.26.0, schemas/ads_insights.json, whose days are times of their beginning in UTC; the
# metadata columns: meltano/sdk, `add_record_metadata`. The key is campaign_id, adset_id, ad_id, date_start.
SINGER = {
    "account_id": "text",
    "campaign_id": "text",
    "adset_id": "text",
    "ad_id": "text",
    "date_start": "timestamptz",
    "date_stop": "timestamptz",
    "comscore_market": "text",
    "impressions": "bigint",
    "clicks": "bigint",
    "spend": "double precision",
    "_sdc_batched_at": "timestamptz",
    "_sdc_deleted_at": "timestamptz",
}


def _synced(ad: str, day: int, batch: int, *figures: Any, market: str | None = None) -> tuple[Any, ...]:
    at = f"2026-11-0{day} 00:00:00+00:00"
    return ("17", "51", "71", ad, at, at, market, *figures, f"2026-11-0{batch} 04:00:00+00:00", None)


def test_singer_appended(warehouse: Engine) -> None:
    """Each key's last batch counts, days are UTC days, and a table by markets is refused: its rows are fractions."""
    rows = [
        _synced("901", 2, 3, 4000, 21, 70.0),
        _synced("901", 2, 4, 4210, 22, 76.53),
        _synced("902", 3, 4, 9, 1, 2.5),
    ]
    create_table(warehouse, "ads_insights", SINGER, *rows)
    found = rows_of(SqlSource(warehouse, "ads_insights"))
    assert sums_of(found, "date_start", "ad_id") == {
        ("2026-11-02", "901"): (4210.0, 22.0, 76.53),
        ("2026-11-03", "902"): (9.0, 1.0, 2.5),
    }
    parts = [_synced("901", 2, 3, 4000, 21, 70.0, market="Boston"), _synced("901", 2, 4, 210, 1, 6.5, market="Chicago")]
    create_table(warehouse, "ads_insights_comscore_market", SINGER, *parts)
    with pytest.raises(BadRequest, match="divided by a breakdown"):
        rows_of(SqlSource(warehouse, "ads_insights_comscore_market"))
