"""A platform with every fault at once: every account that can be read ends with the platform's rows."""

from collections import Counter
from collections.abc import Callable
from datetime import date
from typing import Any

import pytest

from adwarm.model import Window
from adwarm.prefetch import KeyOutcome
from tests.unit.prefetch.conftest import PlatformHarness

SPAN, WINDOW = "2026-10-01..2026-11-24", Window(date(2026, 10, 1), date(2026, 11, 24))
DENIED, POISONED = "act_3", "act_7"
STORM: dict[str, Any] = {
    "quota": {"tier": "standard_access", "base_calls": 120, "calls_per_ad": 0, "score": False},
    "reports": {"visible_after_seconds": 1},
    "size": {"page_cells": 9_000, "sync_rows": 1_500},
    "poison": [{"account": POISONED, "slot": 1}],
    "fault": [
        {"kind": "transient_2", "rate": 0.03},
        {"kind": "transient_1", "rate": 0.02},
        {"kind": "html_500", "rate": 0.01},
        {"kind": "error_in_200", "rate": 0.01},
        {"kind": "truncated", "rate": 0.01},
        {"kind": "reset", "rate": 0.005},
        {"kind": "empty_pages", "rate": 0.3},
        {"kind": "load_shedding", "rate": 0.01},
        {"kind": "report_stuck", "rate": 0.06},
        {"kind": "report_skipped", "rate": 0.06},
        {"kind": "report_failed", "rate": 0.06},
        {"kind": "report_stuck_full", "rate": 0.06},
        {"kind": "null_entry", "rate": 0.1, "routes": ["poll"]},
        {"kind": "denied", "accounts": [DENIED]},
        {"kind": "token_dead", "after_calls": 200, "calls": 6},
    ],
}


def until_done(staging: PlatformHarness, accounts: list[str], rounds: int = 40) -> tuple[dict[str, KeyOutcome], int]:
    """Run again and again, as Airflow would after each wait, until nothing is left to try."""
    ended: dict[str, KeyOutcome] = {}
    for turn in range(rounds):
        left = [name for name in accounts if name not in ended]
        if not left:
            return ended, turn
        outcomes = staging.run(*left, span=SPAN, wait=120).outcomes
        ended |= {o.request.key.account_id: o for o in outcomes if o.status in {"fetched", "fresh", "denied"}}
        staging.clock.sleep(min((o.retry_after or 30 for o in outcomes if o.status in {"parked", "failed"}), default=0))
    return ended, rounds


def test_every_readable_account_ends_with_the_platforms_rows(
    make_staging: Callable[..., PlatformHarness], monkeypatch: pytest.MonkeyPatch
) -> None:
    """No row is lost or duplicated, each unreadable account has a reason, and no parked account is called."""
    accounts = [f"act_{number}" for number in range(1, 8)]
    monkeypatch.setattr("adwarm.sources.meta.source.PAGE_ROWS", 200)
    staging = make_staging({"ads": 2})
    staging.set_faults(**STORM)
    ended, _ = until_done(staging, accounts)
    assert Counter(str(outcome.status) for outcome in ended.values()) == {"fetched": len(accounts) - 1, "denied": 1}
    assert "200" in str(ended[DENIED].reason)
    assert "ad " in str(ended[POISONED].reason)
    assert [call for call in staging.calls() if call.early] == []
    assert max(call.in_flight for call in staging.calls() if call.account and call.route != "poll") == 1
    for account in accounts:
        if account == DENIED:
            continue
        truth = staging.expected_rows(account, WINDOW)
        if account == POISONED:
            truth = [row for row in truth if row["ad_id"][9:13] != "0001"]
        assert staging.stored_rows(account, WINDOW) == truth, account
