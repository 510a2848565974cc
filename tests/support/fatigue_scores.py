"""Fatigue scores as tests need them: one with given values, those of rows, and a way to store some."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import fields
from datetime import date, datetime, timedelta
from typing import Any

import numpy as np
import orjson
import pyarrow as pa
from sqlalchemy import Engine

from adwarm.fatigue.alarm import AlarmTable
from adwarm.fatigue.panel import cut_panel, empty_figures
from adwarm.fatigue.panel_rows import AdRows, parse_rows
from adwarm.fatigue.prior import measure_priors
from adwarm.fatigue.score import SCAN_DAYS, ScoreTable, make_columns, score_panel
from adwarm.fatigue.text_columns import read_ad_key, read_day, read_frequencies
from adwarm.model import ColumnTable, FatigueScore, Window
from adwarm.settings import FatigueSettings
from adwarm.store.fatigue_days import ScoreInputs
from adwarm.store.scores import DayScores, StoredScore, find_newest_day, list_day, publish_days

_FIELDS = tuple(field.name for field in fields(FatigueScore))


def make_score(ad_id: str, as_of: date, **values: Any) -> FatigueScore:
    """Return a healthy score without figures, with other values where they are given."""
    defaults: dict[str, Any] = {
        "account_id": "act_1",
        "ad_name": f"ad {ad_id}",
        "status": "healthy",
        "total": None,
        "creative": None,
        "audience": None,
        "algorithm": None,
        "data_quality": 1.0,
        "trend_per_day": None,
        "days_to_critical": None,
        "baseline": {},
    }
    return FatigueScore(**{**defaults, **values, "ad_id": ad_id, "as_of": as_of})


def publish(
    engine: Engine,
    scores: Sequence[FatigueScore],
    data_version: int,
    settled: bool,
    at: datetime,
    calculator_version: str = "1",
) -> int:
    """Store the scores of each account and day in `scores`, and return how many were stored."""
    inputs = ScoreInputs("", "", data_version, calculator_version=calculator_version, settled=settled)
    groups: dict[tuple[str, date], list[FatigueScore]] = defaultdict(list)
    for score in scores:
        groups[score.account_id, score.as_of].append(score)
    days = [
        DayScores(account_id, as_of, to_columns(group), 0, len(group), inputs)
        for (account_id, as_of), group in groups.items()
    ]
    return sum(len(groups[key]) for key in publish_days(engine, days, at))


def to_columns(scores: Sequence[FatigueScore]) -> dict[str, Sequence[Any]]:
    """Return the values of each field of scores, as `DayScores` has them."""
    columns: dict[str, Sequence[Any]] = {name: [getattr(score, name) for score in scores] for name in _FIELDS}
    return {**columns, "baseline": [orjson.dumps(values).decode() for values in columns["baseline"]]}


def to_text_table(table: ColumnTable) -> pa.Table:
    """Return rows as the store reads them: columns of text, lists and objects as JSON, null for no value."""
    if not table.columns:
        return pa.table({"date_start": pa.nulls(table.rows, pa.string())})
    return pa.table({name: pa.array(map(_to_text, values), pa.string()) for name, values in table.columns.items()})


def _to_text(value: Any) -> str | None:
    if value is None or isinstance(value, str):
        return value
    return orjson.dumps(value).decode() if isinstance(value, list | dict) else str(value)


def list_scores(table: ScoreTable, day: date) -> list[FatigueScore]:
    """Return the scores of a day without alarms, sorted by account and ad."""
    nothing = np.full(table.is_listed.shape, -1, np.int16)
    alarms = AlarmTable(nothing.astype(np.float32), np.zeros(nothing.shape, np.int8), nothing, nothing)
    columns, _ = make_columns(table, alarms, {name: [day] for name in table.panel.account_ids})
    rows = (dict(zip(columns, row, strict=True)) for row in zip(*columns.values(), strict=True))
    return [FatigueScore(**{**row, "baseline": orjson.loads(row["baseline"])}) for row in rows]


def score_rows(
    rows: Sequence[Mapping[str, Any]], range_rows: Sequence[Mapping[str, Any]], as_of: date, settings: FatigueSettings
) -> list[FatigueScore]:
    """Return the scores of rows of ads by day, with the frequencies of `range_rows`."""
    by_account: dict[str, list[dict[str, Any]]] = defaultdict(list, {} if rows else {"act_1": []})
    month = as_of.replace(day=1)
    span = Window(month - timedelta(days=SCAN_DAYS), as_of)
    for row in rows:
        by_account[read_ad_key(row)[0]] += [dict(row)] if read_day(row, "date_start") in span else []
    tables = {name: to_text_table(ColumnTable.from_rows(own)) for name, own in sorted(by_account.items())}
    panel = cut_panel(AdRows.join([parse_rows(name, table, span) for name, table in tables.items()]), span)
    frequency, by_ad = empty_figures(len(panel.ad_ids), panel.days), read_frequencies(range_rows)
    for number, key in enumerate(zip(panel.account_ids, panel.ad_ids, strict=True)):
        frequency[number, -1] = by_ad.get(key, np.nan)
    return list_scores(score_panel(panel, measure_priors(panel, month), frequency, settings, panel.days - 1), as_of)


def list_latest(engine: Engine, account_id: str, as_of: date | None = None) -> list[StoredScore]:
    """Return the account's newest scores, not later than `as_of`, in the order of all lists."""
    day = find_newest_day(engine, account_id, as_of)
    return [] if day is None else list_day(engine, account_id, day)
