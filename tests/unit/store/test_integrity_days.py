"""Counts of what was verified: added up by day and kind, in both databases."""

from datetime import UTC, date, datetime, timedelta

from sqlalchemy import Engine

from adwarm.store import integrity_days
from adwarm.store.integrity_days import IntegrityCounts

NOW = datetime(2026, 11, 25, 23, 30, tzinfo=UTC)


def test_counts_add_up_by_day_and_kind(engine: Engine) -> None:
    """Only the days since the one of the moment count; nothing checked writes nothing."""
    integrity_days.add(engine, NOW, {})
    assert integrity_days.get_totals(engine, NOW).total == IntegrityCounts()
    for days_ago in (0, 0, 3, 7):
        counts = {"entry": IntegrityCounts(5, 1, 0, 100), "snapshot": IntegrityCounts(checked=1)}
        integrity_days.add(engine, NOW - timedelta(days=days_ago), counts)
    totals = integrity_days.get_totals(engine, NOW - timedelta(days=6))
    assert totals.since == date(2026, 11, 19)
    assert totals.kinds == {"entry": IntegrityCounts(15, 3, 0, 300), "snapshot": IntegrityCounts(checked=3)}
    assert totals.total == IntegrityCounts(18, 3, 0, 300)


def test_passes_are_no_data(engine: Engine) -> None:
    """The days of the last pass are known however old they are, and count nothing."""
    integrity_days.record_pass(engine, NOW - timedelta(days=30), ended=False)
    integrity_days.record_pass(engine, NOW - timedelta(days=24), ended=True)
    totals = integrity_days.get_totals(engine, NOW)
    assert (totals.kinds, totals.total.checked) == ({}, 0)
    assert (totals.pass_started, totals.pass_ended) == (date(2026, 10, 26), date(2026, 11, 1))
