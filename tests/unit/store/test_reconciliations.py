"""Figures of groups: the newest of an account and report, the days that lack some, and days stored by groups alone."""

from dataclasses import replace
from datetime import date, timedelta

from sqlalchemy import Engine

from adwarm.model import Window
from adwarm.store import data_arrivals, partitions
from adwarm.store.database import write_transaction
from adwarm.store.partitions import PartitionState
from adwarm.store.reconciliations import DAYS, ComparedFigure, describe_all, find_newest, insert_figures, list_newest
from tests.unit.conftest import NOW

FIRST = date(2026, 11, 1)
FIGURE_WINDOW = Window(FIRST, date(2026, 11, 7))
FIGURE = ComparedFigure(
    at=NOW,
    account_id="act_1",
    comparison=DAYS,
    since=FIRST,
    until=date(2026, 11, 7),
    metric="impressions (pla_es)",
    expected=1944000,
    actual=907200,
    differs=True,
)


def make_day(day: date, missing: str | None = None) -> PartitionState:
    """Return a final day."""
    return PartitionState(
        day=day,
        object_hash="a" * 64,
        rows=1,
        content_hash="b" * 64,
        fetched_at=NOW,
        complete=True,
        settled=True,
        data_version=1,
        api_version="v26.0",
        missing=missing,
    )


def test_the_newest_figure_of_a_report_counts(engine: Engine) -> None:
    """Another figure of the same report replaces it; other accounts, reports and comparisons have their own."""
    better = replace(FIGURE, at=NOW + timedelta(hours=1), metric="spend (pla_es)", differs=False)
    others = [replace(FIGURE, metric="impressions (places)"), replace(FIGURE, comparison="groups", differs=False)]
    insert_figures(engine, [FIGURE, better, *others, replace(FIGURE, account_id="act_2")])
    assert find_newest(engine, "act_1", DAYS, "pla_es") == better
    assert find_newest(engine, "act_1", DAYS, "nothing") is None
    listed = [(item.account_id, item.metric) for item in list_newest(engine, DAYS, NOW)]
    assert listed == [("act_1", "spend (pla_es)"), ("act_1", "impressions (places)"), ("act_2", FIGURE.metric)]
    assert list_newest(engine, DAYS, NOW + timedelta(hours=2)) == []


def test_a_figure_of_days_is_described() -> None:
    """The sentence names account, days, report and both sums, and what may be the reason."""
    text = describe_all([FIGURE])
    assert text.startswith(
        "act_1 2026-11-01..2026-11-07, impressions (pla_es): the rows without breakdowns sum to 1,944,000, the groups "
        "to 907,200 (53.3% apart); the platform leaves groups out, or answers this breakdown only once"
    )


def test_days_that_lack_groups_are_listed_and_restated(engine: Engine) -> None:
    """Days are short whose groups do not add up; days by groups alone are counted; one query is restated."""
    days = [make_day(FIRST), make_day(FIRST + timedelta(1), "ad 12: x; groups total: 0 of the 5 impressions of x")]
    days.append(make_day(FIRST + timedelta(2), "groups unclear: several rows"))
    with write_transaction(engine) as connection:
        partitions.publish(connection, "act_1", "groups", days, 1)
        partitions.publish(connection, "act_1", "plain", days[:1], 1)
        partitions.publish(connection, "act_2", "plain", days, 1)
    assert partitions.list_short(engine, "act_1", "groups") == [days[1]]
    assert partitions.list_short(engine, "act_1", "plain") == []
    assert partitions.count_days_without(engine, "groups", ["plain", "other"]) == 2
    data_arrivals.restate(engine, "act_1", [FIRST], "groups", NOW + timedelta(minutes=1))
    data_arrivals.restate(engine, "act_1", [], "groups", NOW)
    states = partitions.list_states_by_account(engine, ["act_1"], "groups", FIGURE_WINDOW)["act_1"]
    assert [day for day, state in states.items() if state.is_restated] == [FIRST]
    plain = partitions.list_states(engine, "act_1", "plain", FIGURE_WINDOW)
    assert not plain[FIRST].is_restated
