"""What readers get for the keys of a batch that could not be fetched."""

from collections.abc import Sequence
from dataclasses import replace

from adwarm.foundation.errors import AdwarmError
from adwarm.foundation.redaction import redact
from adwarm.foundation.wording import format_duration
from adwarm.prefetch import BatchResult, KeyOutcome
from adwarm.prefetch.batch_result import KeyStatus
from adwarm.serving.read_chain import ReadChain

_SHOWN = 20
_LOOKED_UP = frozenset({KeyStatus.FAILED, KeyStatus.STALE})


def look_up_fallbacks(chain: ReadChain, result: BatchResult) -> BatchResult:
    """Return the outcomes with those that failed looked up in the fallback chain.

    A key for which a step has data ends `stale`, with its source and age; its error stays.
    """
    return BatchResult([_look_up(chain, item) if item.status in _LOOKED_UP else item for item in result.outcomes])


def describe_fallbacks(outcomes: Sequence[KeyOutcome]) -> list[str]:
    """Return a line with source, age and reason for each of the first keys that a fallback has data for."""
    found = [item for item in outcomes if item.source is not None]
    lines = [
        redact(
            f"{item.request.key}: readers get it from {item.source}, {format_duration(item.age_seconds or 0.0)} old; "
            f"{item.reason}"
        )
        for item in found[:_SHOWN]
    ]
    return [*lines, f"and {len(found) - _SHOWN:,} more"] if len(found) > _SHOWN else lines


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
