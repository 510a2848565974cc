"""A worker's memory of open breakers, so that a batch that meets one is refused in microseconds, without a question.

An open breaker stays open until its cool-down is over, whatever anybody asks, so what was heard of it stays true. It is
kept for a second at the most: a breaker that a person closes is noticed, and one question a second costs nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from adwarm.backpressure.admission import Decision, Rejected
from adwarm.backpressure.breakers import single_account, source_scope
from adwarm.model import Scope

CACHE_SECONDS = 1.0


class OpenBreakerCache:
    """Refusals by source and scope. Safe to share between threads: every step is one operation on a dict.

    Args:
        monotonic: this process's clock, in seconds.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._rejections: dict[tuple[str, str], tuple[float, Rejected]] = {}

    def save(self, source: str, decision: Decision | None, asked_at: float) -> None:
        """Remember the answer to a question of the moment `asked_at` if it is the refusal of an open breaker."""
        if isinstance(decision, Rejected) and decision.scope is not None:
            self._rejections[source, decision.scope] = (asked_at, decision)

    def find_rejection(self, scopes: Sequence[Scope], source: str) -> Rejected | None:
        """Return the refusal of a breaker known to be open that such a call must pass, with the time that is left."""
        if not self._rejections:
            return None
        account = single_account(scopes)
        for scope in (source_scope(source), str(account) if account is not None else ""):
            heard = self._rejections.get((source, scope))
            if heard is None:
                continue
            age = self._monotonic() - heard[0]
            if age < min(CACHE_SECONDS, heard[1].retry_after):
                return replace(heard[1], retry_after=heard[1].retry_after - age)
            self._rejections.pop((source, scope), None)
        return None
