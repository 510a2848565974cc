"""Until when a fetched entry answers its key."""

from datetime import UTC, datetime, timedelta

import pytest

from adwarm.model import Account, ReportKey
from adwarm.planning.expiry import NEVER, useful_until

BERLIN = Account("act_1", "Europe/Berlin")
NOON = datetime(2026, 3, 4, 12, tzinfo=UTC)
MIDNIGHT = datetime(2026, 3, 4, 23, tzinfo=UTC)


def test_stale_or_moved_whichever_is_first(subtests: pytest.Subtests) -> None:
    """The entry's freshness ends, or the account's midnight changes the days of the range."""
    for date_range, fetched, until in [
        ("today", NOON, NOON + timedelta(hours=3)),
        ("yesterday", NOON, NOON + timedelta(hours=6)),
        ("today", MIDNIGHT - timedelta(minutes=10), MIDNIGHT),
        ("last_7d", MIDNIGHT - timedelta(minutes=10), MIDNIGHT),
        ("last_7d", MIDNIGHT, MIDNIGHT + timedelta(hours=6)),
        ("last_week", NOON, NOON + timedelta(hours=24)),
        ("2026-03-01..2026-03-03", MIDNIGHT - timedelta(hours=1), MIDNIGHT + timedelta(hours=5)),
        ("2025-01-01..2025-01-31", NOON, NEVER),
        ("last_year", NOON, NEVER),
    ]:
        with subtests.test(date_range=date_range):
            assert useful_until(ReportKey("act_1", date_range), BERLIN, fetched) == until


def test_a_month_ends_in_the_accounts_zone() -> None:
    """`last_month` changes at the first midnight of the month in Berlin, not in Greenwich."""
    fetched = datetime(2026, 5, 30, 12, tzinfo=UTC)
    assert useful_until(ReportKey("act_1", "last_month"), BERLIN, fetched) == datetime(2026, 5, 31, 22, tzinfo=UTC)
