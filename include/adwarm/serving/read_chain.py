"""The fallback chain: how a report is answered when its stored entry is not a hit.

The read API, `adwarm get` and `PrefetchInsightsOperator` use it. A hit is answered before it. Then the steps of
`recovery.fallbacks` run in their order until one answers:

| step         | answers with                                                     | is left out when               |
|--------------|------------------------------------------------------------------|--------------------------------|
| `cache`      | the entry that this process has verified last for the key        | the stored entry can be read   |
| `entry`      | the stored entry, old or marked degraded                         | the database cannot be reached |
| `partitions` | a document assembled from stored days, if each day is stored     | the same                       |
| `window`     | an entry of other days: earlier ones of the key, a longer or     | the same                       |
|              | shorter range; the reason names its days                         |                                |
| `source`     | the days as another connection answers them now                  | the same; the caller may not   |
|              |                                                                  | fetch                          |
| `upstream`   | a fetch, which stores the entry                                  | the same as for `source`       |
| `none`       | nothing: it ends the chain                                       |                                |

| rule                                                                                                              |
|-------------------------------------------------------------------------------------------------------------------|
| A caller that asks for fresh data runs `upstream` first, whatever its place and condition; the others follow it.    |
| A step whose `errors` are not `any` runs only if the last error is of these classes; `NotFound` is not an error.     |
| A step that takes longer than its timeout has failed with `TimeoutError`; data older than its `max_age_hours` is not |
| used.                                                                                                             |
| `partitions`, `window` and `source` are isolated when they keep failing; `upstream` has its own breaker.            |
| Data of other days than the key means now is not used, whichever step has it, unless the caller allows it.          |
| Only `entry` and `upstream` may answer with fresh data; everything else is stale and degraded, with the reason.      |
| Nothing but `upstream` stores anything.                                                                           |
"""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import cache
from typing import Final

from sqlalchemy.exc import SQLAlchemyError

from adwarm.foundation.errors import AdwarmError, NotFound, StorageError, Transient
from adwarm.foundation.redaction import redact
from adwarm.foundation.wording import format_duration
from adwarm.model import Actor, ReportKey
from adwarm.prefetch import BatchResult, KeyOutcome, PrefetchEngine
from adwarm.prefetch.batch_result import KeyStatus
from adwarm.recovery.fallback import FallbackChain, FallbackRun
from adwarm.recovery.isolation import IsolationTracker
from adwarm.serving.chain_steps import ChainRequest, ReportSteps, StoreUnreachable
from adwarm.serving.reader import Reader, ReadResult, ReadStatus
from adwarm.settings.recovery_sections import ANY_ERROR, FallbackSettings
from adwarm.store.gates import SqlGates

_COMPLETE_SOURCES = frozenset({"entry", "upstream"})
_FRESH_STATUSES = frozenset({ReadStatus.HIT, ReadStatus.FETCHED})
STORE_ERRORS: Final = (Transient, OSError, SQLAlchemyError)
"""What reading an entry raises when its database cannot be reached or is too slow."""
_SHOWN = 20
_LOOKED_UP = frozenset({KeyStatus.FAILED, KeyStatus.STALE})


def order_steps(steps: Sequence[FallbackSettings], *, wants_fresh: bool) -> tuple[FallbackSettings, ...]:
    """Return the steps in the order in which they run, without `none`.

    Args:
        wants_fresh: whether the caller asks for fresh data: `upstream` comes first then, without a condition, and with
            the timeout of the settings' default when the chain has no such step.
    """
    steps = tuple(step for step in steps if step.kind != "none")
    if not wants_fresh:
        return steps
    fetch = next(
        (step for step in steps if step.kind == "upstream"), FallbackSettings(kind="upstream", timeout_seconds=30.0)
    )
    rest = (step for step in steps if step.kind != "upstream")
    return (fetch.model_copy(update={"errors": (ANY_ERROR,)}), *rest)


class ReadChain:
    """Answers report keys by the chain of the settings. Safe to share between threads.

    Args:
        make_prefetch: builds the engine for `upstream` and `source`; called only for these.
    """

    def __init__(self, reader: Reader, make_prefetch: Callable[[], PrefetchEngine]) -> None:
        self.reader = reader
        self._make_prefetch = make_prefetch
        self._recovery = reader.context.settings.recovery
        isolation = IsolationTracker(SqlGates(reader.context.engine), self._recovery, reader.clock)
        self._chain = FallbackChain(isolation, reader.clock)
        self.steps = self._recovery.fallbacks

    @property
    def entry_step(self) -> FallbackSettings | None:
        """How long the database may take to say which entry answers, and up to which age an old one does."""
        return next((step for step in self.steps if step.kind == "entry"), None)

    def split_steps(
        self, *, wants_fresh: bool
    ) -> tuple[Sequence[FallbackSettings], FallbackSettings | None, Sequence[FallbackSettings]]:
        """Return the steps before `upstream`, that step if there is one, and those after it."""
        steps = order_steps(self.steps, wants_fresh=wants_fresh)
        place = next((number for number, step in enumerate(steps) if step.kind == "upstream"), None)
        if place is None:
            return steps, None, ()
        return steps[:place], steps[place], steps[place + 1 :]

    def read(
        self,
        key: ReportKey,
        actor: Actor = Actor.HUMAN,
        *,
        may_fetch: bool = False,
        wants_fresh: bool = False,
        record_traffic: bool = True,
        allow_partial: bool = False,
    ) -> ReadResult:
        """Return a report by the chain; a miss when no step has one, with the reason and the error.

        Args:
            actor: who reads; counted with the read.
            may_fetch: whether `upstream` and `source` may run.
            wants_fresh: whether an entry that is old is fetched before anything else answers.
            allow_partial: whether an entry of other days may answer; the result's `other_window` names them.

        Raises:
            BadRequest: the report is not configured.
        """
        started = time.perf_counter()
        result = first = self.look_up(key)
        if first.status is not ReadStatus.HIT:
            steps = order_steps(self.steps, wants_fresh=wants_fresh)
            result = self.find(ChainRequest(first, may_fetch, allow_partial=allow_partial), steps)
        if record_traffic and not isinstance(first.error, StoreUnreachable):
            self.reader.record_read(result, actor, (time.perf_counter() - started) * 1000)
        return result

    def read_instead(self, key: ReportKey, error: Exception) -> ReadResult:
        """Return what the chain has for a key whose fetch has failed with `error`; a miss when that is nothing.

        The result has source, age and reason; the document only where it is stored or was fetched.
        """
        steps = [step for step in order_steps(self.steps, wants_fresh=False) if step.kind != "upstream"]
        request = ChainRequest(self.look_up(key), may_fetch=True, wants_document=False)
        return self.find(request, steps, error)

    def look_up(self, key: ReportKey) -> ReadResult:
        """Return what the stored entry gives; a miss with `StoreUnreachable` when the database cannot be read.

        Raises:
            BadRequest: the report is not configured.
        """
        self.reader.context.settings.spec(key.report)
        try:
            return self.reader.read(key, record_traffic=False)
        except STORE_ERRORS as error:
            return self.describe_lost_store(key, error)

    def describe_lost_store(self, key: ReportKey, error: Exception) -> ReadResult:
        """Return the miss of a key whose entry could not be read."""
        is_damaged = isinstance(error, StorageError) and error.code == "database_damaged"
        failure = StoreUnreachable("the database is damaged" if is_damaged else "the database cannot be reached")
        failure.__cause__ = error
        return ReadResult(key, ReadStatus.MISS, self.reader.clock.now(), reason=str(failure), error=failure)

    def find(
        self, request: ChainRequest, steps: Sequence[FallbackSettings], error: Exception | None = None
    ) -> ReadResult:
        """Return the answer of the first step that has one; a miss when none has.

        Args:
            error: why a fallback is needed; the error of `request.first` by default.
        """
        first = request.first
        error = first.error if error is None else error
        built = ReportSteps(self.reader, self._make_prefetch, request)
        run = self._chain.run(built.build(steps), error, isolates=self._recovery.isolate)
        result = _describe(run, first)
        if result.entry is not None or built.refused_window is None:
            return result
        hint = f"{result.reason}; other days are stored, {built.refused_window}, for readers that allow partial answers"
        return replace(result, reason=hint, refused_window=built.refused_window)


def read_or_fetch(
    reader: Reader,
    make_prefetch: Callable[[], PrefetchEngine],
    key: ReportKey,
    actor: Actor = Actor.HUMAN,
    *,
    allow_partial: bool = False,
) -> ReadResult:
    """Return a fresh entry, fetched with critical priority when it is not stored, or else what the chain has.

    When the fetch fails, the other steps of `recovery.fallbacks` are tried; what they answer is stale, with the reason.

    Args:
        make_prefetch: builds the engine; called only on a miss.
        allow_partial: whether an entry of other days than the key means may answer.

    Raises:
        NotFound: the fetch failed, and no other step has the report; the message says why.
        StoreUnreachable: the database cannot be read, and this process has not read the report before; the message
            says why and what to do.
    """
    chain = ReadChain(reader, cache(make_prefetch))
    return require_entry(chain.read(key, actor, may_fetch=True, wants_fresh=True, allow_partial=allow_partial))


def require_entry(result: ReadResult, hint: str = "") -> ReadResult:
    """Return a result that has an entry.

    Args:
        hint: what to do about a miss, for its message.

    Raises:
        NotFound: it is a miss; the message says why.
        StoreUnreachable: the database cannot be read; the message says why and what to do.
    """
    if result.entry is not None:
        return result
    if isinstance(result.error, StoreUnreachable):
        cause = result.error.__cause__
        reason = str(cause) if isinstance(cause, AdwarmError) else result.reason
        raise StoreUnreachable(f"{result.key}: {reason}; this process has not read the report before") from result.error
    raise NotFound(f"{result.key}: {result.reason}{hint}") from result.error


def _describe(run: FallbackRun[ReadResult], first: ReadResult) -> ReadResult:
    """Return the result of a run, with everything that a reader may know about it."""
    attempts = first.attempts + run.attempts
    failure, texts = run.error, [redact(str(error)) for error in run.errors]
    if run.used is None or run.value is None:
        reason = _join(texts) or first.reason
        return replace(
            first,
            status=ReadStatus.MISS,
            entry=None,
            blob=None,
            source=None,
            is_degraded=False,
            reason=reason,
            attempts=attempts,
            actions=run.notes,
            error=failure,
        )
    result, source = run.value, run.used.name
    if result.status in _FRESH_STATUSES:
        return replace(result, source=source, attempts=attempts, actions=run.notes)
    is_marked = result.entry is not None and result.entry.degraded
    return replace(
        result,
        status=ReadStatus.STALE,
        source=source,
        is_degraded=is_marked or failure is not None or source not in _COMPLETE_SOURCES,
        reason=_join([*texts, result.reason or ""]),
        attempts=attempts,
        actions=run.notes,
        error=failure,
    )


def _join(texts: Sequence[str]) -> str:
    return "; ".join(dict.fromkeys(text for text in texts if text))


def look_up_fallbacks(chain: ReadChain, result: BatchResult) -> BatchResult:
    """Return the outcomes with those that failed looked up in the fallback chain.

    A key for which a step has data ends `stale`, with its source and age; its error stays.
    """
    return BatchResult([_look_up(chain, item) if item.status in _LOOKED_UP else item for item in result.outcomes])


def describe_fallbacks(outcomes: Sequence[KeyOutcome]) -> list[str]:
    """Return a line with source, age and reason for each of the first keys that a fallback has data for."""
    served = [item for item in outcomes if item.source is not None]
    lines = [
        redact(
            f"{item.request.key}: readers get it from {item.source}, {format_duration(item.age_seconds or 0.0)} old; "
            f"{item.reason}"
        )
        for item in served[:_SHOWN]
    ]
    return [*lines, f"and {len(served) - _SHOWN:,} more"] if len(served) > _SHOWN else lines


def _look_up(chain: ReadChain, outcome: KeyOutcome) -> KeyOutcome:
    error = outcome.error or AdwarmError(outcome.reason)
    result = chain.read_instead(outcome.request.key, error)
    if result.entry is None:
        return outcome
    return replace(
        outcome,
        status=KeyStatus.STALE,
        reason=result.reason,
        source=result.source,
        age_seconds=result.age_seconds,
    )
