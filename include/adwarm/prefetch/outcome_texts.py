"""What happened to the reports of a batch, in words."""

import re
from collections.abc import Mapping, Sequence

from adwarm.foundation.redaction import redact
from adwarm.foundation.wording import format_count, format_duration, format_some
from adwarm.prefetch.batch_result import BatchResult, KeyOutcome, KeyStatus

_WORDS = {
    KeyStatus.FETCHED: "fetched",
    KeyStatus.FRESH: "fresh already",
    KeyStatus.STALE: "not refreshed",
    KeyStatus.PARKED: "waiting",
    KeyStatus.DENIED: "denied",
    KeyStatus.FAILED: "failed",
}
_SHOWN_DENIALS = 10
_SHOWN_REASONS = 3
_TRACE = re.compile(r"trace \w+")


def describe_outcomes(outcomes: Sequence[KeyOutcome]) -> list[str]:
    """Return a line for each report of one account.

    The requests of an account count for the first of its fetched reports; the lines of the others say so.
    """
    first = next((item for item in outcomes if item.calls), None)
    return [f"{item.request.key}: {', '.join(_facts(item, first))}{_reason(item)}" for item in outcomes]


def describe_result(result: BatchResult) -> str:
    """Return a summary such as `16 reports: 12 fetched, 3 fresh already, 1 denied; 9 requests`."""
    if not result.outcomes:
        return "no report was left to fetch"
    counts = [f"{result.count(status):,} {_WORDS[status]}" for status in KeyStatus if result.count(status)]
    return f"{format_count(len(result.outcomes), 'report')}: {', '.join(counts)}; {_requests(result)}"


def describe_stored_days(outcome: KeyOutcome, calls: int) -> str | None:
    """Return why a fetched report took no request of its own; None when it took one, or was not fetched."""
    if outcome.status is not KeyStatus.FETCHED or outcome.calls:
        return None
    if calls:
        return "covered by the requests of the account's first report"
    return "assembled from stored days; no request needed"


def describe_denied(denied: Mapping[str, str], connection: str | None = None) -> str:
    """Return a line that names denied accounts with their reasons, equal reasons once.

    Args:
        denied: reasons by account id.
        connection: name of the connection that may not read them, or several separated by commas.
    """
    verb = "is" if len(denied) == 1 else "are"
    whom = f"connection {connection}" if connection else "the access token"
    return f"{format_count(len(denied), 'account')} {verb} denied to {whom}: {_names_with_reasons(denied)}"


def describe_left_out(denied: Mapping[str, str]) -> str:
    """Return a line that names accounts that a run left out because they were denied before it."""
    accounts = format_count(len(denied), "account")
    return f"{accounts} left out, denied less than a day ago: {_names_with_reasons(denied)}"


def list_denied(outcomes: Sequence[KeyOutcome]) -> dict[str, str]:
    """Return the denied accounts of a batch with their reasons."""
    denied = (item for item in outcomes if item.status is KeyStatus.DENIED)
    return {item.request.key.account_id: item.reason or "no reason given" for item in denied}


def _names_with_reasons(denied: Mapping[str, str]) -> str:
    """Return the accounts by reason; reasons that differ only by the account and its trace count as one."""
    groups: dict[str, tuple[str, list[str]]] = {}
    for name, reason in denied.items():
        same = _TRACE.sub("", reason.replace(name, "ID"))
        groups.setdefault(same, (reason, []))[1].append(name)
    texts = [f"{format_some(names, _SHOWN_DENIALS)} ({redact(reason)})" for reason, names in groups.values()]
    return format_some(texts, _SHOWN_REASONS)


def _facts(outcome: KeyOutcome, first: KeyOutcome | None) -> list[str]:
    facts = [_WORDS[outcome.status]]
    if outcome.status is KeyStatus.PARKED and outcome.retry_after:
        facts[0] = f"{facts[0]} about {format_duration(outcome.retry_after)}"
    if outcome.rows is not None:
        facts.append(format_count(outcome.rows, "row"))
    if outcome.calls:
        facts.append(format_count(outcome.calls, "request"))
    elif outcome.status is KeyStatus.FETCHED and first is not None:
        facts.append(f"no further request (covered by those of {first.request.key.date_range})")
    elif outcome.status is KeyStatus.FETCHED:
        facts.append("no request (assembled from stored days)")
    if outcome.seconds is not None:
        facts.append(format_duration(outcome.seconds))
    return facts


def _reason(outcome: KeyOutcome) -> str:
    if not outcome.reason:
        return ""
    reason = redact(outcome.reason)
    return f"; incomplete: {reason}" if outcome.status.is_served else f": {reason}"


def _requests(result: BatchResult) -> str:
    if result.calls:
        return format_count(result.calls, "request")
    if result.count(KeyStatus.FETCHED):
        return "no request needed: the fetched reports were assembled from stored days"
    return "no request"
