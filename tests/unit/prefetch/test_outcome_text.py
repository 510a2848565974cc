"""The words about a batch: what each line and each summary says."""

from typing import Any

import pytest

from adwarm.model import ReportKey
from adwarm.prefetch import BatchResult, KeyOutcome, KeyRequest, KeyStatus
from adwarm.prefetch.outcome_texts import (
    describe_denied,
    describe_left_out,
    describe_outcomes,
    describe_result,
    describe_stored_days,
    list_denied,
)


def outcome(status: KeyStatus, name: str = "act_1", date_range: str = "last_7d", **values: Any) -> KeyOutcome:
    """How a report ended."""
    return KeyOutcome(KeyRequest(ReportKey(name, date_range)), status, **values)


@pytest.mark.parametrize(
    ("ended", "line"),
    [
        (
            outcome(KeyStatus.FETCHED, rows=420, calls=2, seconds=3.14),
            "act_1 last_7d: fetched, 420 rows, 2 requests, 3.1 s",
        ),
        (
            outcome(KeyStatus.FETCHED, rows=1, seconds=0.2),
            "act_1 last_7d: fetched, 1 row, no request (assembled from stored days), 0.2 s",
        ),
        (
            outcome(KeyStatus.FETCHED, rows=7, calls=1, seconds=12.0, reason="reach of 2 ads"),
            "act_1 last_7d: fetched, 7 rows, 1 request, 12 s; incomplete: reach of 2 ads",
        ),
        (outcome(KeyStatus.FRESH), "act_1 last_7d: fresh already"),
        (
            outcome(KeyStatus.PARKED, retry_after=300.0, reason="account:act_1 is parked"),
            "act_1 last_7d: waiting about 5 min: account:act_1 is parked",
        ),
        (outcome(KeyStatus.STALE, calls=1, reason="down"), "act_1 last_7d: not refreshed, 1 request: down"),
        (outcome(KeyStatus.DENIED, reason="no access"), "act_1 last_7d: denied: no access"),
        (outcome(KeyStatus.FAILED, reason="down"), "act_1 last_7d: failed: down"),
    ],
)
def test_each_report_has_a_line(ended: KeyOutcome, line: str) -> None:
    """Status in words, rows, requests, seconds, and the reason."""
    assert describe_outcomes([ended]) == [line]


def test_reports_that_share_requests_say_so() -> None:
    """An account's requests count for one report; the line of another one names it."""
    lines = describe_outcomes([outcome(KeyStatus.FETCHED, calls=3), outcome(KeyStatus.FETCHED, date_range="yesterday")])

    assert lines[1] == "act_1 yesterday: fetched, no further request (covered by those of last_7d)"


def test_no_secret_reaches_a_line() -> None:
    """A reason is redacted wherever it is shown."""
    reason = "refused: access_token=EAAB1234567890abcdefgh"
    texts = [
        *describe_outcomes([outcome(KeyStatus.FAILED, reason=reason)]),
        describe_denied({"act_1": reason}),
        describe_left_out({"act_1": reason}),
    ]

    assert not any("EAAB" in text for text in texts)


def test_a_summary_counts_in_words() -> None:
    """Only what happened is counted; a fetch without a request is explained; an empty batch says so."""
    ended = [outcome(KeyStatus.FETCHED, calls=9), outcome(KeyStatus.FRESH), outcome(KeyStatus.DENIED)]

    assert describe_result(BatchResult(ended)) == "3 reports: 1 fetched, 1 fresh already, 1 denied; 9 requests"
    assert describe_result(BatchResult([outcome(KeyStatus.FETCHED)])) == (
        "1 report: 1 fetched; no request needed: the fetched reports were assembled from stored days"
    )
    assert describe_result(BatchResult([outcome(KeyStatus.FRESH)])) == "1 report: 1 fresh already; no request"
    assert describe_result(BatchResult()) == "no report was left to fetch"


def test_a_report_without_a_request_is_explained() -> None:
    """Stored days differ from the account's other requests; a report that took a request needs no reason."""
    stored = outcome(KeyStatus.FETCHED)

    assert describe_stored_days(stored, 0) == "assembled from stored days; no request needed"
    assert describe_stored_days(stored, 2) == "covered by the requests of the account's first report"
    assert describe_stored_days(outcome(KeyStatus.FETCHED, calls=1), 1) is None
    assert describe_stored_days(outcome(KeyStatus.FRESH), 0) is None


def test_denied_accounts_are_named_with_their_reasons() -> None:
    """Each account once, with connection and reason; many are cut."""
    batch = [outcome(KeyStatus.DENIED, "act_1", reason="a"), outcome(KeyStatus.DENIED, "act_2", reason="b")]
    denied = list_denied([*batch, outcome(KeyStatus.DENIED, "act_2", "today", reason="b"), outcome(KeyStatus.FETCHED)])

    assert describe_denied(denied, "facebook_default") == (
        "2 accounts are denied to connection facebook_default: act_1 (a), act_2 (b)"
    )
    assert describe_denied({"act_1": "a"}) == "1 account is denied to the access token: act_1 (a)"
    assert describe_left_out({"act_9": "no"}) == "1 account left out, denied less than a day ago: act_9 (no)"
    assert describe_denied({f"act_{n}": "x" for n in range(12)}).endswith("act_9 and 2 more (x)")
    reasons = {f"act_{n}": f"Object 'act_{n}' does not exist (trace A{n}f)" for n in range(3)}
    assert describe_denied(reasons).endswith("act_0, act_1, act_2 (Object 'act_0' does not exist (trace A0f))")
    assert describe_denied({f"act_{n}": f"r{n}0" for n in range(5)}).endswith("act_2 (r20) and 2 more")
