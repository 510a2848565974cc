"""Requests again what failed: failed requests of the queue, and failed warms of a run."""

from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import timedelta

from adwarm.actions.audit import ActionServices, Doer, audited, make_digest
from adwarm.actions.warm_now import RequestResult, request_keys
from adwarm.foundation.errors import NotFound
from adwarm.model import Priority, ReportKey
from adwarm.store import requests, warms
from adwarm.store.database import read_transaction

MAX_FAILURES = 200
"""The most reports that one action requests again; the newest failures come first."""
REQUESTS_SINCE = timedelta(hours=24)
"""How far failed requests are looked for by default."""


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
        failures: each report once.
        denied: reports of accounts that deny access; requesting them again is useless until that is granted.
    """

    failures: tuple[Failure, ...]
    denied: int = 0

    @property
    def keys(self) -> list[ReportKey]:
        """The reports."""
        return [failure.key for failure in self.failures]

    @property
    def digest(self) -> str:
        """The digest of what was shown."""
        return make_digest(sorted(str(key) for key in self.keys))

    def count_reasons(self) -> list[tuple[str, int]]:
        """Return each reason with the number of reports, the most frequent first."""
        return Counter(failure.reason for failure in self.failures).most_common()


def find_failed_requests(services: ActionServices, since: timedelta = REQUESTS_SINCE) -> FailedReports:
    """Return the reports whose newest request failed, expired or was shed within `since`. Only reads."""
    after = services.clock.now() - since
    with read_transaction(services.context.engine) as connection:
        rows = requests.list_unfulfilled(connection, after, MAX_FAILURES)
    return FailedReports(tuple(Failure(row.key, row.error or "no reason given", str(row.status)) for row in rows))


def find_failed_warms(services: ActionServices, run_id: str) -> FailedReports:
    """Return the reports of a run whose warm failed. Only reads.

    Raises:
        NotFound: there is no such run.
    """
    rows = [] if "\0" in run_id else warms.list_by_run(services.context.engine, run_id)
    if not rows:
        raise NotFound(f"there is no run {run_id[:250]!r} with warms; `adwarm status` lists the latest runs")
    failed = {
        row.key: Failure(row.key, row.error or "no reason given", str(row.status))
        for row in rows
        if row.status in warms.FAILED
    }
    denied = sum(row.status in warms.DENIED for row in rows)
    return FailedReports(tuple(failed.values())[:MAX_FAILURES], denied)


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
