"""The limits of one token of the read API: what it may cause on the platform.

Whatever a token does passes here before it can cost an upstream call: a request enters the queue by
`RequestQueue.enqueue`, a call without a request by `RequestQueue.admit_call`, and a notice of arrived data by
`TokenLimits.take_refetches`. Whether a report is stored is read from the database, in the transaction that counts it.

| limit                                                     | code of the refusal | ask again                        |
|-----------------------------------------------------------|---------------------|----------------------------------|
| a request for the same report failed a moment ago         | `failed`            | after the rest of that pause     |
| open requests of the token                                | `open_requests`     | when one has ended               |
| reports of a UTC day that were never stored               | `daily_new_keys`    | after midnight, UTC              |
| fetches of a UTC day of reports that are stored           | `daily_refetches`   | after midnight, UTC              |

An equal request that is open is joined, and costs nothing. So does a request that no worker has taken: when the token
makes it again on the same day, it is not counted twice. A notice counts as one fetch for each report that it makes old.
"""

from dataclasses import dataclass
from datetime import date, timedelta
from typing import Final

from sqlalchemy import Connection

from adwarm.foundation.errors import Refused, restore_error
from adwarm.foundation.wording import format_count
from adwarm.model import AccessToken, ReportKey
from adwarm.store import access_tokens, entries, requests
from adwarm.store.access_tokens import Counter
from adwarm.store.requests import QueuedRequest, RequestStatus

FAILED_LATELY: Final = "failed"
OPEN_REQUESTS: Final = "open_requests"
NEW_KEYS: Final = "daily_new_keys"
REFETCHES: Final = "daily_refetches"
TOKEN_LIMITS: Final = frozenset({OPEN_REQUESTS, NEW_KEYS, REFETCHES})
"""Codes of the refusals that are a limit of the token."""
FAILED_PAUSE_SECONDS = 30.0
"""How long a report whose request failed is not requested again, so that a page that polls causes no call per poll."""
_RETRY_SECONDS = 10.0
_ONE_DAY = timedelta(days=1)
_NEVER_TAKEN = frozenset({RequestStatus.EXPIRED, RequestStatus.SHED})


@dataclass(frozen=True, slots=True)
class TokenLimits:
    """Whose request it is, and what the token may still cause. Times are seconds since the epoch.

    Attributes:
        token_id: public id of the token; stored with the request.
        max_open: the most open requests of the token.
        daily_new_keys: the most reports in a UTC day that were never stored.
        daily_refetches: the most fetches in a UTC day of reports that are stored.
    """

    token_id: str
    max_open: int
    daily_new_keys: int
    daily_refetches: int

    @classmethod
    def of(cls, token: AccessToken, max_open: int) -> "TokenLimits":
        """Return the limits of a token; `max_open` is the setting `serving.max_queued_per_token`."""
        return cls(token.id, max_open, token.daily_new_keys, token.daily_refetches)

    def find_refusal(self, connection: Connection, key: ReportKey, now: float) -> Refused | None:
        """Return why a new request for `key` is refused; None when it is not."""
        newest = requests.find_newest(connection, key)
        if newest is not None and _has_failed_lately(newest, now):
            rest = max(1.0, (newest.finished_at or now) + FAILED_PAUSE_SECONDS - now)
            refusal = Refused(newest.error or "the last request failed", retry_after=rest, code=FAILED_LATELY)
            refusal.__cause__ = restore_error(newest.error_kind, newest.error, key.account_id)
            return refusal
        if requests.count_open_of_token(connection, self.token_id) >= self.max_open:
            message = f"this token has {self.max_open} open requests, its most; wait until one has ended"
            return Refused(message, retry_after=_RETRY_SECONDS, code=OPEN_REQUESTS)
        return None if self._is_counted(newest, now) else self._find_day_refusal(connection, key, now)

    def count_request(self, connection: Connection, key: ReportKey, now: float) -> None:
        """Count a request that was let in; call it before the request is stored."""
        if not self._is_counted(requests.find_newest(connection, key), now):
            self.take_fetch(connection, key, now)

    def take_fetch(self, connection: Connection, key: ReportKey, now: float) -> None:
        """Count a fetch of `key`.

        Raises:
            Refused: none is left of the day; roll the transaction back.
        """
        self._take(connection, _choose_counter(connection, key), 1, now)

    def take_refetches(self, connection: Connection, count: int, now: float) -> None:
        """Count fetches that a notice of arrived data causes.

        Raises:
            Refused: so many are not left of the day; roll the transaction back.
        """
        self._take(connection, "refetches", count, now)

    def _take(self, connection: Connection, counter: Counter, count: int, now: float) -> None:
        name = (self.token_id, _day_of(now), counter)
        if not access_tokens.add_day_count(connection, name, count, self._get_limit(counter)):
            raise self._refuse(counter, now, count)

    def _find_day_refusal(self, connection: Connection, key: ReportKey, now: float) -> Refused | None:
        counter = _choose_counter(connection, key)
        count = access_tokens.get_day_count(connection, self.token_id, _day_of(now), counter)
        return None if count < self._get_limit(counter) else self._refuse(counter, now)

    def _get_limit(self, counter: Counter) -> int:
        return self.daily_new_keys if counter == "new_keys" else self.daily_refetches

    def _is_counted(self, newest: QueuedRequest | None, now: float) -> bool:
        """Whether the newest request for a report is one of the token's, of the day, that no worker has taken."""
        return (
            newest is not None
            and newest.token_id == self.token_id
            and newest.status in _NEVER_TAKEN
            and newest.token == 0
            and _day_of(newest.enqueued_at) == _day_of(now)
        )

    def _refuse(self, counter: Counter, now: float, count: int = 1) -> Refused:
        at = requests.to_datetime(now)
        midnight = at.replace(hour=0, minute=0, second=0, microsecond=0) + _ONE_DAY
        limit, hint = self._get_limit(counter), "ask again after midnight, UTC"
        if counter == "new_keys":
            message = f"this token has requested {limit:,} new reports today, its most; {hint}"
        elif count <= 1:
            message = f"this token has had {limit:,} stored reports fetched again today, its most; {hint}"
        else:
            message = (
                f"{format_count(count, 'stored report')} would be fetched again, and this token may cause {limit:,} "
                f"such fetches a day, with those it has caused today; {hint}, or report fewer days"
            )
        code = NEW_KEYS if counter == "new_keys" else REFETCHES
        return Refused(message, retry_after=max(1.0, midnight.timestamp() - now), code=code)


def _has_failed_lately(newest: QueuedRequest, now: float) -> bool:
    return newest.status is RequestStatus.FAILED and (newest.finished_at or 0.0) >= now - FAILED_PAUSE_SECONDS


def _choose_counter(connection: Connection, key: ReportKey) -> Counter:
    return "refetches" if entries.is_stored(connection, key) else "new_keys"


def _day_of(seconds: float) -> date:
    return requests.to_datetime(seconds).date()
