"""Drains the request queue through the prefetch engine: small batches, the most urgent class first.

| outcome of the key                              | the request is                          |
|-------------------------------------------------|-----------------------------------------|
| `fetched`, `fresh`                              | completed                               |
| a `Permanent` error but `Refused` and `Corrupt` | failed                                  |
| any other                                       | requeued for a later try                |

After a request's deadline no further call is admitted for its account. While a batch runs, the leases of its requests
are renewed; a worker that dies stops renewing them, and others take over. A worker that is asked to stop ends its batch
at the next call and gives the requests back.
"""

import logging
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace

from adwarm.backpressure import Admission, CallOutcome, CallRequest, ClaimedRequest, Decision, Grant, RequestQueue
from adwarm.backpressure.admission import Rejected
from adwarm.foundation import telemetry
from adwarm.foundation.errors import AdwarmError, Corrupt, Permanent, name_error
from adwarm.foundation.errors import Refused as RefusedError
from adwarm.foundation.wording import format_count
from adwarm.model import MANUAL_CAUSE, CallCause, CauseKind, ScopeKind
from adwarm.prefetch import KeyOutcome, KeyRequest, KeyStatus, PrefetchEngine
from adwarm.prefetch.batch import BatchStopped
from adwarm.prefetch.progress_log import ProgressLog
from adwarm.store.requests import QueuedRequest

BATCH_SIZE = 10
_DEADLINE_RETRY_SECONDS = 1.0
_STOPPED_RETRY_SECONDS = 1.0
log = logging.getLogger(__name__)


@dataclass
class DrainResult:
    """How the requests of one drain ended.

    Attributes:
        completed: requests with a fresh entry.
        failed: requests that no other try can help.
        given_back: requests that were requeued for a later try.
        lost: requests whose lease another worker has taken over.
        failures: the errors of failed and requeued requests; a wait is none.
    """

    completed: int = 0
    failed: int = 0
    given_back: int = 0
    lost: int = 0
    requests: int = 0
    errors: list[str] = field(default_factory=list)
    failures: list[AdwarmError] = field(default_factory=list)

    def to_dict(self) -> dict[str, int]:
        """Return the counts; small enough for an XCom."""
        return {name: getattr(self, name) for name in ("completed", "failed", "given_back", "lost", "requests")}

    def __str__(self) -> str:
        ended = self.completed + self.failed + self.given_back + self.lost
        if not ended:
            return "no request was ready"
        counts = {
            "completed": self.completed,
            "failed": self.failed,
            "back in the queue for a later try": self.given_back,
            "taken over by another worker": self.lost,
        }
        parts = [f"{count:,} {name}" for name, count in counts.items() if count]
        return f"{format_count(ended, 'request')}: {', '.join(parts)}; {format_count(self.requests, 'upstream call')}"


@dataclass
class DeadlineAdmission:
    """Rejects the calls of an account whose requests are past their deadline.

    Attributes:
        deadlines: by account id, the reading of `monotonic` from which its calls are rejected.
    """

    inner: Admission
    deadlines: Mapping[str, float]
    monotonic: Callable[[], float]

    def admit(self, call: CallRequest) -> Decision:
        """Return the decision of the inner admission, unless the deadline of the call's account is past."""
        account = next((scope.id for scope in call.scopes if scope.kind is ScopeKind.ACCOUNT), None)
        end = self.deadlines.get(account, max(self.deadlines.values())) if account else max(self.deadlines.values())
        if self.monotonic() >= end:
            return Rejected("the request is past its deadline", _DEADLINE_RETRY_SECONDS)
        return self.inner.admit(call)

    def renew(self, grant: Grant) -> Grant:
        """Renew the grant."""
        return self.inner.renew(grant)

    def release(self, grant: Grant, outcome: CallOutcome) -> None:
        """Release the grant with its outcome."""
        self.inner.release(grant, outcome)


@dataclass
class QueueWorker:
    """Drains the request queue. Use one per worker, from one thread at a time.

    Attributes:
        stopping: set from any thread to stop the batch that is running.
    """

    prefetch: PrefetchEngine
    queue: RequestQueue
    batch_size: int = BATCH_SIZE
    monotonic: Callable[[], float] = time.monotonic
    stopping: threading.Event = field(default_factory=threading.Event)

    def drain(self, seconds: float) -> DrainResult:
        """Claim and carry out batches until nothing is ready or `seconds` have passed."""
        result, end = DrainResult(), self.monotonic() + seconds
        while self.monotonic() < end and self.drain_batch(result):
            continue
        self.queue.delete_old()
        return result

    def drain_batch(self, result: DrainResult) -> bool:
        """Carry out one batch and add it to `result`; return False when nothing was ready."""
        claims = self.queue.dequeue(self.batch_size)
        if not claims:
            return False
        with self._renewing_leases(claims):
            outcomes = self._fetch(claims)
        for claim, outcome in zip(claims, outcomes, strict=True):
            self._record_outcome(claim, outcome, result)
        return True

    def _fetch(self, claims: Sequence[ClaimedRequest]) -> list[KeyOutcome]:
        started = self.monotonic()
        deadlines: dict[str, float] = {}
        for claim in claims:
            account = claim.request.key.account_id
            deadlines[account] = max(deadlines.get(account, 0.0), started + claim.seconds_left)
        longest = max(claim.seconds_left for claim in claims)
        engine = replace(self.prefetch, admission=DeadlineAdmission(self.prefetch.admission, deadlines, self.monotonic))
        wait = min(longest, self.prefetch.settings.backpressure.timeout_seconds)
        requests = [_to_request(claim.request) for claim in claims]
        try:
            with ProgressLog(len(requests), log.log) as progress:

                def heartbeat(waiting: int) -> None:
                    if self.stopping.is_set():
                        raise BatchStopped(
                            "the worker is stopping; another continues", retry_after=_STOPPED_RETRY_SECONDS
                        )
                    progress.tick(waiting)

                return engine.run(
                    requests,
                    claims[0].request.priority,
                    wait_seconds=wait,
                    progress=progress.add,
                    heartbeat=heartbeat,
                ).outcomes
        except AdwarmError as error:
            log.warning("a batch of the queue failed as a whole: %s", error)
            # A stop is not an attempt, so that the requests do not run out of attempts when processes are replaced.
            pause = error.retry_after if isinstance(error, BatchStopped) else None
            failed = KeyOutcome(requests[0], KeyStatus.FAILED, reason=str(error), error=error, retry_after=pause)
            return [replace(failed, request=item) for item in requests]

    def _record_outcome(self, claim: ClaimedRequest, outcome: KeyOutcome, result: DrainResult) -> None:
        result.requests += outcome.calls
        reason = outcome.reason or f"it ended as {outcome.status}"
        kind = None if outcome.error is None else name_error(outcome.error)
        if outcome.status.is_served:
            is_held, ended = self.queue.ack(claim, _result(outcome)), "completed"
            result.completed += is_held
        elif _is_permanent(outcome.error):
            is_held, ended = self.queue.fail(claim, reason, error_kind=kind), "failed"
            result.failed += is_held
        else:
            is_held = self.queue.requeue(claim, reason, retry_after=outcome.retry_after, error_kind=kind)
            ended = "given_back"
            result.given_back += is_held
        result.lost += not is_held
        telemetry.report(telemetry.REQUESTS, int(is_held), result=ended)
        if not outcome.status.is_served:
            result.errors.append(f"{claim.request.key}: {reason}")
        if outcome.error and not outcome.status.is_served and outcome.status is not KeyStatus.PARKED:
            result.failures.append(outcome.error)

    @contextmanager
    def _renewing_leases(self, claims: Sequence[ClaimedRequest]) -> Iterator[None]:
        """Renew the leases while the block runs."""
        ended = threading.Event()

        def renew_until_done() -> None:
            while not ended.wait(self.queue.rules.lease_seconds / 3):
                try:
                    self.queue.renew(claims)
                except Exception as error:
                    log.warning("the leases of a batch could not be renewed (%s); trying again", error)

        thread = threading.Thread(target=renew_until_done, name="queue-leases", daemon=True)
        thread.start()
        try:
            yield
        finally:
            ended.set()
            thread.join()


def _is_permanent(error: AdwarmError | None) -> bool:
    """Whether another try is useless. A refused request had no try, and corrupt data may arrive intact next time."""
    return isinstance(error, Permanent) and not isinstance(error, RefusedError | Corrupt)


def _result(outcome: KeyOutcome) -> dict[str, object]:
    moments = {"fetched_at": outcome.fetched_at, "expires_at": outcome.expires_at}
    texts = {name: None if value is None else value.isoformat() for name, value in moments.items()}
    return {"status": str(outcome.status), "requests": outcome.calls, "seconds": outcome.seconds, **texts}


def _to_request(queued: QueuedRequest) -> KeyRequest:
    """Return the request for a key; readers have a token, and a command or a form has none."""
    cause = MANUAL_CAUSE if queued.token_id is None else CallCause(CauseKind.READER)
    return KeyRequest(queued.key, reference=queued.id, origin="request", cause=cause)
