"""A worker's memory of open breakers, so that a batch that meets one is refused in microseconds, without a question.

An open breaker stays open until its cool-down is over, whatever anybody asks, so what was heard of it stays true. It is
kept for a second at the most: a breaker that a person closes is noticed, and one question a second costs nothing.
"""

from collections.abc import Callable, Sequence
from dataclasses import replace

from adwarm.backpressure.admission import Decision, Refused
from adwarm.backpressure.breakers import source_scope, the_account
from adwarm.model import Scope

REMEMBERED_SECONDS = 1.0


class OpenBreakers:
    """Refusals by source and scope. Safe to share between threads: every step is one operation on a dict.

    Args:
        monotonic: this process's clock, in seconds.
    """

    def __init__(self, monotonic: Callable[[], float]) -> None:
        self._monotonic = monotonic
        self._heard: dict[tuple[str, str], tuple[float, Refused]] = {}

    def note(self, source: str, decision: Decision | None, asked_at: float) -> None:
        """Remember the answer to a question of the moment `asked_at` if it is the refusal of an open breaker."""
        if isinstance(decision, Refused) and decision.scope is not None:
            self._heard[source, decision.scope] = (asked_at, decision)

    def refusal(self, scopes: Sequence[Scope], source: str) -> Refused | None:
        """Return the refusal of a breaker known to be open that such a call must pass, with the time that is left."""
        if not self._heard:
            return None
        account = the_account(scopes)
        for scope in (source_scope(source), str(account) if account is not None else ""):
            heard = self._heard.get((source, scope))
            if heard is None:
                continue
            age = self._monotonic() - heard[0]
            if age < min(REMEMBERED_SECONDS, heard[1].retry_after):
                return replace(heard[1], retry_after=heard[1].retry_after - age)
            self._heard.pop((source, scope), None)
        return None
