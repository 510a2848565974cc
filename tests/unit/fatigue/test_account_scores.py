"""Accounts are scored from the store, once per version of their data."""

from collections.abc import Sequence
from dataclasses import replace
from datetime import date, datetime, timedelta
from pathlib import Path
from typing import cast

import pytest
from sqlalchemy import Engine

from adwarm.fatigue import account_scores
from adwarm.fatigue.account_scores import ScoringResult, score_accounts
from adwarm.fatigue.score import CALCULATOR_VERSION
from adwarm.model import Priority, ReportKey, Window
from adwarm.prefetch import KeyRequest
from adwarm.recovery import RecoveryPipeline
from adwarm.settings import Settings
from adwarm.sources.protocol import FetchUnit, Increment, ResultPage
from adwarm.store import Context, ObjectStore, partitions, scores
from adwarm.store.database import write_transaction
from adwarm.store.entries import table as entry
from adwarm.store.partition_rows import daily_rows, pack_rows
from adwarm.store.scores import DayScores
from tests.support import fatigue_scores
from tests.support.fatigue_scores import make_score
from tests.unit.conftest import NOW, SQLITE_ONLY, PrefetchHarness, one_ad_page
from tests.unit.fatigue.stored_ads import store_days

DAY = date(2026, 11, 24)
SPEC = Settings().spec("default").hash
WEEK = "2026-11-18..2026-11-24"


def _close(harness: PrefetchHarness, *accounts: str) -> None:
    expected = [KeyRequest(ReportKey(name, WEEK), close_day=DAY) for name in accounts]
    harness.prefetch.run(expected, Priority.LOW)


def _score(harness: PrefetchHarness, objects: ObjectStore, *accounts: str) -> ScoringResult:
    return score_accounts(Context(harness.engine, objects, harness.settings), [(name, DAY) for name in accounts], NOW)


def test_a_closed_day_is_scored_without_a_call(harness: PrefetchHarness, objects: ObjectStore) -> None:
    """The ads of a closed account are scored without a call to the platform."""
    _close(harness, "act_1")
    asked = len(harness.source.submitted)
    report = _score(harness, objects, "act_1")
    assert (report.accounts, sum(report.bands.values()), len(harness.source.submitted)) == (1, 1, asked)
    assert [row.score.ad_id for row in fatigue_scores.list_latest(harness.engine, "act_1")] == ["7"]


@SQLITE_ONLY
def test_scores_are_stored_under_the_given_account_id(harness: PrefetchHarness, objects: ObjectStore) -> None:
    """Rows with the account's digits alone, as Meta's have, are stored under its id and scored once."""

    def digits(unit: FetchUnit) -> ResultPage:
        page = one_ad_page(unit)
        for row in page.rows:
            row["account_id"] = "1"
        return page

    harness.source.script = {"act_1": digits}
    _close(harness, "act_1")
    _score(harness, objects, "act_1")
    assert [row.score.account_id for row in fatigue_scores.list_latest(harness.engine, "act_1")] == ["act_1"]
    assert _score(harness, objects, "act_1").unchanged == 1


@SQLITE_ONLY
def test_the_alert_of_a_killed_run_is_raised_by_the_next(
    harness: PrefetchHarness, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A run that dies after storing scores leaves their alert to the next one, which scores nothing."""
    _close(harness, "act_1")
    context, pipeline = Context(harness.engine, objects, harness.settings), cast("RecoveryPipeline", object())
    tried: list[set[tuple[str, date]]] = []

    def alert(_context: Context, published: set[tuple[str, date]], _now: datetime, _pipeline: object) -> int:
        tried.extend([set(published)] if published else [])
        if len(tried) == 1:
            raise KeyboardInterrupt
        return 0

    monkeypatch.setattr(account_scores, "alert_on_crossings", alert)
    with pytest.raises(KeyboardInterrupt):
        score_accounts(context, [("act_1", DAY)], NOW, pipeline)
    assert [row.score.ad_id for row in fatigue_scores.list_latest(harness.engine, "act_1")] == ["7"]

    result = score_accounts(context, [("act_1", DAY)], NOW, pipeline)
    assert (result.accounts, result.unchanged) == (0, 1)
    assert tried == [{("act_1", DAY)}] * 2


@SQLITE_ONLY
def test_equal_data_is_scored_once(harness: PrefetchHarness, objects: ObjectStore) -> None:
    """Scoring the same data again changes nothing; an account without data is counted."""
    _close(harness, "act_1")
    _score(harness, objects, "act_1")
    report = _score(harness, objects, "act_1", "act_9")
    assert (report.accounts, report.unchanged, report.without_data) == (0, 1, 1)


@SQLITE_ONLY
def test_one_damaged_account_does_not_stop_the_rest(harness: PrefetchHarness, objects: ObjectStore) -> None:
    """An account with damaged rows gives an error that says what to do; the next account is scored."""
    _close(harness, "act_1")
    for path in Path(objects.url).rglob("*.parquet"):
        path.write_bytes(b"?")
    _close(harness, "act_2")
    report = _score(harness, objects, "act_1", "act_2")
    assert report.accounts == 1
    assert "verify --repair" in report.errors[0]
    assert "act_1" in report.errors[0]
    assert report.to_dict()["errors"] == report.errors


@SQLITE_ONLY
def test_scoring_again_stays_an_error_until_the_days_are_back(harness: PrefetchHarness, objects: ObjectStore) -> None:
    """Days that healing has set aside are no account without data; once they are fetched, it is scored."""
    _close(harness, "act_1")
    for path in Path(objects.url).rglob("*.parquet"):
        path.write_bytes(b"?")
    context = Context(harness.engine, objects, harness.settings)
    for _ in range(2):
        result = score_accounts(context, [("act_1", DAY)], NOW, harness.prefetch.pipeline)
        assert (result.accounts, result.without_data, len(result.errors)) == (0, 0, 1)
    assert "not fetched again yet" in result.errors[0]
    _close(harness, "act_1")
    assert _score(harness, objects, "act_1").accounts == 1


@SQLITE_ONLY
@pytest.mark.parametrize(
    ("name", "value"),
    [("impressions", "many"), ("clicks", "-3"), ("spend", "1e999"), ("date_start", "2026-99-99")],
)
def test_figures_that_cannot_be_read_are_left_out(
    harness: PrefetchHarness, objects: ObjectStore, name: str, value: str
) -> None:
    """A value that is not a number leaves out its row, with account, day, ad and field; the account is scored."""
    _close(harness, "act_1", "act_2")
    states = partitions.list_states(harness.engine, "act_1", SPEC, Window(DAY - timedelta(days=1), DAY))
    rows = [{**row, name: value} for row in daily_rows(objects, states, Window(DAY, DAY))]
    changed = replace(states[DAY], object_hash=objects.put(pack_rows(rows)))
    with write_transaction(harness.engine) as connection:
        partitions.publish(connection, "act_1", SPEC, [changed], 1)
    result = _score(harness, objects, "act_1", "act_2")
    if name == "date_start":  # a row of no day of the window is not read
        assert (result.accounts, result.errors, result.left_out) == (2, [], [])
        return
    assert (result.accounts, result.errors) == (2, [])
    assert result.left_out[0].startswith(f"act_1 {DAY}: ad 7: {name} is ")
    assert [row.score.ad_id for row in fatigue_scores.list_latest(harness.engine, "act_2")] == ["7"]


def test_a_run_that_dies_is_completed_by_the_next(
    harness: PrefetchHarness, objects: ObjectStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    """When storing fails after the first account, that account stays whole and the next run does the others."""
    monkeypatch.setattr(account_scores, "_TRANSACTION_SCORES", 1)
    _close(harness, "act_1", "act_2", "act_3")
    publish = scores.publish_days
    calls: list[str] = []

    def die_at_the_second(engine: Engine, days: Sequence[DayScores], at: datetime) -> object:
        calls.append(days[0].account_id)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return publish(engine, days, at)

    monkeypatch.setattr(scores, "publish_days", die_at_the_second)
    with pytest.raises(KeyboardInterrupt):
        _score(harness, objects, "act_1", "act_2", "act_3")
    result = _score(harness, objects, "act_1", "act_2", "act_3")
    assert (result.accounts, result.unchanged, calls) == (2, 1, ["act_1", "act_2", "act_2", "act_3"])


def test_a_frequency_outlives_its_weekly_report(harness: PrefetchHarness, objects: ObjectStore) -> None:
    """Once the report of the week is deleted, the scores keep their frequency, also when they are computed again."""
    harness.source.script = {"act_1": _tiring_ads}
    _close(harness, "act_1")
    _score(harness, objects, "act_1")
    before = [row.score for row in fatigue_scores.list_latest(harness.engine, "act_1")]
    assert {score.baseline["frequency"] for score in before} == {1.5, 2.5, 3.5}
    with write_transaction(harness.engine) as connection:
        connection.execute(entry.delete())
    assert _score(harness, objects, "act_1").unchanged == 1
    fatigue = harness.settings.fatigue.model_copy(update={"min_impressions": 501})
    changed = harness.settings.model_copy(update={"fatigue": fatigue})
    assert score_accounts(Context(harness.engine, objects, changed), [("act_1", DAY)], NOW).accounts == 1
    after = [row.score for row in fatigue_scores.list_latest(harness.engine, "act_1")]
    assert [score.audience for score in after] == [score.audience for score in before]


@SQLITE_ONLY
def test_nothing_is_read_when_nothing_changed(harness: PrefetchHarness, objects: ObjectStore) -> None:
    """Equal inputs need no object: the second run is fine although every object is damaged by then."""
    _close(harness, "act_1")
    _score(harness, objects, "act_1")
    for path in Path(objects.url).rglob("*.parquet"):
        path.write_bytes(b"?")
    result = _score(harness, objects, "act_1")
    assert (result.unchanged, result.errors) == (1, [])


def test_days_without_a_row_are_scored_once(harness: PrefetchHarness, objects: ObjectStore) -> None:
    """An account whose stored days have no rows has no scores; it counts as scored and is not computed again."""
    harness.source.script = {"act_1": lambda unit: ResultPage([], api_version="v26.0")}
    _close(harness, "act_1")
    assert (_score(harness, objects, "act_1").accounts, fatigue_scores.list_latest(harness.engine, "act_1")) == (1, [])
    assert scores.list_scored_accounts(harness.engine, ["act_1"], DAY) == {"act_1"}
    assert _score(harness, objects, "act_1").unchanged == 1


def _tiring_ads(unit: FetchUnit) -> ResultPage:
    """Return three ads with actions; over a range they have a frequency."""
    page = one_ad_page(unit)
    actions = [{"action_type": "link_click", "value": "7"}, {"action_type": "purchase", "value": "1"}]
    is_range = unit.increment is Increment.RANGE
    rows = [
        {**row, "ad_id": ad, "actions": actions, **({"frequency": f"{ad}.5"} if is_range else {})}
        for row in page.rows
        for ad in ("1", "2", "3")
    ]
    return ResultPage(rows, api_version="v26.0")


def test_scores_of_an_earlier_calculator_are_replaced_some_at_a_time(engine: Engine, objects: ObjectStore) -> None:
    """Earlier scores are read as they are; the account that is scored again gets new ones, the others wait."""
    accounts = ("act_1", "act_2", "act_3")
    earlier = [make_score("1", DAY, account_id=name, total=12.5) for name in accounts]
    fatigue_scores.publish(engine, earlier, 1, True, NOW, "canonical-2")
    context = Context(engine, objects, Settings())
    row = {"ad_id": "1", "impressions": "5000", "clicks": "60", "spend": "25"}
    store_days(context, {DAY - timedelta(days=number): [row] for number in range(40)})

    turns = {tuple(scores.list_outdated(engine, CALCULATOR_VERSION, 1, str(turn))) for turn in range(20)}
    assert turns == {((name, DAY),) for name in accounts}
    result = score_accounts(context, scores.list_outdated(engine, CALCULATOR_VERSION, 10), NOW)

    assert (result.accounts, result.without_data, result.errors) == (1, 2, [])
    versions = {name: fatigue_scores.list_latest(engine, name)[0].calculator_version for name in accounts}
    assert versions == {"act_1": CALCULATOR_VERSION, "act_2": "canonical-2", "act_3": "canonical-2"}
