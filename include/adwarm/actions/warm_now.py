"""Requests reports at once, and again those that failed: failed requests of the queue, and failed warms of a run.

They go through the request queue, so that the shared limits and the order of classes apply.
"""

import re
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import Any, Final

from adwarm.actions.audit import ActionServices, Doer, RunningAction, audited
from adwarm.backpressure import TokenLimits
from adwarm.backpressure.request_queue import Ticket
from adwarm.foundation.errors import BadRequest, NotFound, Refused
from adwarm.foundation.wording import format_count, format_some
from adwarm.model import Priority, ReportKey, TokenScope
from adwarm.planning.store_view import StoreView
from adwarm.store import Context, accounts, requests, warms

MAX_KEYS: Final = 200
"""The most reports of one action."""
_SEPARATORS = re.compile(r"[\s,;]+")
MAX_FAILURES = 200
"""The most reports that one action requests again; the newest failures come first."""
REQUESTS_SINCE = timedelta(hours=24)
"""How far failed requests are looked for by default."""


@dataclass
class RequestResult:
    """The result of a request for reports.

    Attributes:
        tickets: the requests, those that joined an equal one included.
        left_out: reports for which the queue, or the token of who asked, had no room.
    """

    tickets: list[Ticket] = field(default_factory=list)
    fresh: list[ReportKey] = field(default_factory=list)
    left_out: list[ReportKey] = field(default_factory=list)
    why: str = ""

    @property
    def ids(self) -> list[int]:
        """The ids of the requests."""
        return [ticket.id for ticket in self.tickets]

    def __str__(self) -> str:
        joined = sum(ticket.joined for ticket in self.tickets)
        parts = [f"{format_count(len(self.tickets) - joined, 'report')} requested"]
        parts += [f"{joined:,} requested before and not done yet"] if joined else []
        parts += [f"{len(self.fresh):,} fresh already"] if self.fresh else []
        parts += [f"{len(self.left_out):,} left out: {self.why}"] if self.left_out else []
        return "; ".join(parts)


def parse_keys(context: Context, names: str, date_ranges: str, report: str = "default") -> list[ReportKey]:
    """Return the report keys of a form: every account with every date range, each once.

    Args:
        names: account ids, separated by spaces, commas or lines.
        date_ranges: presets or `YYYY-MM-DD..YYYY-MM-DD`, separated likewise.

    Raises:
        BadRequest: a part is missing or not valid, or there are more than `MAX_KEYS` keys.
    """
    ids, ranges = split_names(names), split_names(date_ranges)
    if not ids or not ranges:
        raise BadRequest("name at least one account, such as act_1234, and one date range, such as last_7d")
    if len(ids) * len(ranges) > MAX_KEYS:
        raise BadRequest(
            f"{len(ids):,} accounts with {format_count(len(ranges), 'date range')} are more than {MAX_KEYS} reports; "
            "name fewer at a time, or create a strategy for them"
        )
    context.settings.spec(report)
    account_ids = [accounts.find_id(context, text) for text in ids]
    return list(dict.fromkeys(ReportKey.parse(name, each, report) for name in account_ids for each in ranges))


def warm_now(
    services: ActionServices,
    doer: Doer,
    keys: Sequence[ReportKey],
    priority: Priority = Priority.HIGH,
    why: str = "",
) -> tuple[RequestResult, int | None]:
    """Request the reports that are not fresh, and return the result and the number of the recorded action.

    Requesting them again joins the requests that are open.

    Raises:
        Refused: the queue has no room for any of them.
    """
    arguments = {"reports": [str(key) for key in keys], "priority": priority.name.lower(), "why": why}
    with audited(services, doer, "warm_now", describe_keys(keys), arguments) as action:
        result = request_keys(services, action, keys, priority)
    return result, action.id


def request_keys(
    services: ActionServices, action: RunningAction, keys: Sequence[ReportKey], priority: Priority
) -> RequestResult:
    """Request the reports that are not fresh as a part of an action, which then names the requests.

    The limits of the token that the action's doer logged in with apply, as they do to a request of the read API.

    Accounts are named by it, unless the doer has a token of a reader: that one may name only accounts that exist.

    Raises:
        BadRequest: a reader's token names an account that does not exist.
        Refused: the queue or the token has no room for any of them.
    """
    now, limits, token = services.clock.now(), None, action.doer.token
    if token is None or token.allows(TokenScope.ADMIN):
        name_accounts(services, keys)
    else:
        _require_known(services, keys)
    if token is not None:
        limits = TokenLimits.of(token, services.context.settings.serving.max_queued_per_token)
        priority = max(priority, token.highest_priority)
    fresh = _find_fresh(StoreView(services.context, now), keys, now)
    result = RequestResult(fresh=[key for key in keys if key in fresh])
    for key in keys:
        if key in fresh:
            continue
        try:
            result.tickets.append(services.queue.enqueue(key, priority, limits=limits))
        except Refused as full:
            if not result.tickets:
                raise
            result.left_out.append(key)
            result.why = str(full)
    action.arguments["requests"] = result.ids
    action.detail = str(result)
    return result


def _require_known(services: ActionServices, keys: Sequence[ReportKey]) -> None:
    names = sorted({key.account_id for key in keys})
    stored = accounts.get_many(services.context.engine, names)
    if unknown := [name for name in names if name not in stored]:
        raise BadRequest(
            f"there is no account {unknown[0]}; one exists when a connection lists it, an administrator names it, or "
            "the access log opens it"
        )


def name_accounts(services: ActionServices, keys: Sequence[ReportKey]) -> None:
    """Store the accounts of reports that somebody names."""
    accounts.add_named(services.context, [key.account_id for key in keys], services.clock.now())


def describe_keys(keys: Sequence[ReportKey]) -> str:
    """Return the first of some report keys, and how many more there are."""
    return format_some([str(key) for key in keys], 2)


def _find_fresh(view: StoreView, keys: Sequence[ReportKey], now: datetime) -> dict[ReportKey, Any]:
    ends = view.get_fresh_until(keys, [now] * len(keys))
    return {key: end for key, end in zip(keys, ends, strict=True) if end is not None and end > now}


def split_names(text: str) -> list[str]:
    """Return the names of a text, each once; spaces, commas and lines separate them."""
    return list(dict.fromkeys(part for part in _SEPARATORS.split(text) if part))


@dataclass(frozen=True, slots=True)
class Failure:
    """A report whose last request or warm failed.

    Attributes:
        status: `failed`, `expired`, `shed`, `stale` or `denied`.
    """

    key: ReportKey
    reason: str
    status: str


@dataclass(frozen=True, slots=True)
class FailedReports:
    """What can be requested again.

    Attributes:
        failures: the newest ones, up to `MAX_FAILURES`.
        total: how many there are.
        denied: reports of accounts that deny access; requesting them again is useless until that is granted.
    """

    failures: tuple[Failure, ...]
    total: int
    denied: int = 0

    @property
    def keys(self) -> list[ReportKey]:
        """The reports."""
        return [failure.key for failure in self.failures]

    def count_reasons(self) -> list[tuple[str, int]]:
        """Return each reason with the number of reports, the most frequent first."""
        return Counter(failure.reason for failure in self.failures).most_common()


def find_failed_requests(services: ActionServices) -> FailedReports:
    """Return the reports whose newest request failed, expired or was shed in the last 24 hours. Only reads."""
    after = services.clock.now() - REQUESTS_SINCE
    rows, total = requests.list_unfulfilled(services.context.engine, after, MAX_FAILURES)
    failures = tuple(Failure(row.key, row.error or "no reason given", str(row.status)) for row in rows)
    return FailedReports(failures, total)


def find_failed_warms(services: ActionServices, run_id: str) -> FailedReports:
    """Return the reports of a run whose warm failed. Only reads.

    Raises:
        NotFound: there is no such run.
    """
    rows = [] if "\0" in run_id else warms.list_by_run(services.context.engine, run_id)
    if not rows:
        raise NotFound(f"there is no run {run_id[:250]!r} with warms; `adwarm status --all` lists the latest runs")
    failed = {
        row.key: Failure(row.key, row.error or "no reason given", str(row.status))
        for row in rows
        if row.status in warms.FAILED
    }
    denied = sum(row.status in warms.DENIED for row in rows)
    return FailedReports(tuple(failed.values())[:MAX_FAILURES], len(failed), denied)


def retry_reports(
    services: ActionServices, doer: Doer, keys: Sequence[ReportKey], *, run_id: str | None = None, why: str = ""
) -> tuple[RequestResult, int | None]:
    """Request reports again that failed, in the class `normal`; return the result and the action's number.

    Args:
        run_id: the run whose warms they are; None for requests.

    Raises:
        Refused: the queue has no room for any of them.
    """
    subject = run_id or "failed requests"
    arguments = {"reports": [str(key) for key in keys], "why": why}
    with audited(services, doer, "retry_failed", subject, arguments) as action:
        result = request_keys(services, action, keys, Priority.NORMAL)
    return result, action.id
