"""Carries a unit through the upstream: every call admitted, retried where that helps, split where it does not."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TypeVar

from adwarm.backpressure import Admission, admitted
from adwarm.clock import Clock
from adwarm.errors import Permanent, TooMuchData, Transient
from adwarm.model import Priority
from adwarm.recovery import RecoveryPipeline
from adwarm.sources.protocol import Handle, InsightsSource, JobState, Page, Row, Unit

T = TypeVar("T")
MAX_PAGES = 10_000


@dataclass
class Fetched:
    """Rows of one or more units, and what they cost."""

    rows: list[Row] = field(default_factory=list)
    api_version: str = ""


@dataclass
class Fetcher:
    """Fetches units of one account. Made per account job and used by one thread.

    Attributes:
        wait_seconds: how long a call may wait for admission before it gives up with `Throttled` or `Refused`.
        requests: upstream calls made so far, failed ones included.
        heartbeat: called after each call, so that a lease held around a long fetch stays alive.
    """

    source: InsightsSource
    admission: Admission
    pipeline: RecoveryPipeline
    clock: Clock
    priority: Priority
    wait_seconds: float
    job_timeout_seconds: float = 900.0
    requests: int = 0
    heartbeat: Callable[[], None] | None = None

    def fetch(self, unit: Unit) -> Fetched:
        """Return every row of `unit`; a unit that is too large is split until it fits.

        Raises:
            Throttled, Denied, TokenDead, TooMuchData, Transient: as the upstream says, after what could be done.
        """
        try:
            return self._whole(unit)
        except TooMuchData:
            parts = self.source.split(unit)
            if not parts:
                raise
        result = Fetched()
        for part in parts:
            fetched = self.fetch(part)
            result.rows.extend(fetched.rows)
            result.api_version = fetched.api_version
        return result

    def call(self, account_id: str, operation: Callable[[], T]) -> T:
        """Make one upstream call under admission, with retries."""

        def once() -> T:
            scopes = self.source.scopes(account_id)
            with admitted(
                self.admission,
                self.clock,
                scopes,
                self.priority,
                source=self.source.name,
                timeout_seconds=self.wait_seconds,
            ) as slot:
                self.requests += 1
                result = operation()
                if isinstance(result, Page):
                    slot.heard(result.usage)
                return result

        value = self.pipeline.run(once, source=self.source.name, subject=account_id).value
        if self.heartbeat:
            self.heartbeat()
        return value

    def _whole(self, unit: Unit) -> Fetched:
        answer = self.call(unit.account_id, lambda: self.source.submit(unit))
        asked: Unit | Handle = unit
        if isinstance(answer, Handle):
            asked = answer
            self._await(answer)
            answer = self.call(unit.account_id, lambda: self.source.read(asked, None))
        result = Fetched(list(answer.rows), answer.api_version)
        cursor = answer.next_cursor
        for _ in range(MAX_PAGES):
            if cursor is None:
                return result
            page = self._page(unit.account_id, asked, cursor)
            result.rows.extend(page.rows)
            cursor = page.next_cursor
        raise TooMuchData(f"{unit.account_id}: more than {MAX_PAGES} pages; ask for fewer days or fields")

    def _page(self, account_id: str, asked: Unit | Handle, cursor: str) -> Page:
        return self.call(account_id, lambda: self.source.read(asked, cursor))

    def _await(self, handle: Handle) -> None:
        pause, waited = 1.0, 0.0
        while waited < self.job_timeout_seconds:
            progress = self.call(handle.unit.account_id, lambda: self.source.poll([handle]))[handle]
            if progress.state is JobState.READY:
                return
            if progress.state in {JobState.FAILED, JobState.EXPIRED}:
                raise Permanent(f"report {handle.id} ended as {progress.state}: {progress.error or 'no reason given'}")
            self.clock.sleep(pause)
            waited += pause
            pause = min(30.0, pause * 2)
        raise Transient(f"report {handle.id} was not ready after {self.job_timeout_seconds:.0f} s")
