"""The limits of one token of the read API in the request queue.

They are checked in the transaction that enqueues, and only for a request that is not open yet:

| limit                                              | code of the refusal | ask again                         |
|----------------------------------------------------|---------------------|-----------------------------------|
| open requests of the token                         | `token_queue`       | when one has ended                |
| keys of a UTC day that were never stored           | `token_day`         | after midnight, UTC               |
| a request for the same report failed a moment ago  | `failed`            | after the rest of that pause      |
"""

from dataclasses import dataclass
from datetime import timedelta
from typing import Final

from sqlalchemy import Connection

from adwarm.foundation.errors import Refused
from adwarm.foundation.stored_errors import restore_error
from adwarm.model import ReportKey
from adwarm.store import requests, token_days

OPEN_REQUESTS: Final = "token_queue"
NEW_KEYS: Final = "token_day"
FAILED_LATELY: Final = "failed"
FAILED_PAUSE_SECONDS = 30.0
"""How long a report whose request failed is not requested again, so that a page that polls causes no call per poll."""
_RETRY_SECONDS = 10.0
_ONE_DAY = timedelta(days=1)


@dataclass(frozen=True, slots=True)
class TokenLimits:
    """Whose request it is, and what the token may still request.

    Attributes:
        token_id: public id of the token; stored with the request.
        max_open: the most open requests of the token.
        daily_new_keys: the most new keys in a UTC day; None for a key that was stored before, which is not counted.
    """

    token_id: str
    max_open: int
    daily_new_keys: int | None = None

    def find_refusal(self, connection: Connection, key: ReportKey, now: float) -> Refused | None:
        """Return why a new request for `key` is refused at `now`, in seconds since the epoch; None when it is not."""
        failed = requests.find_failed_since(connection, key, now - FAILED_PAUSE_SECONDS)
        if failed is not None:
            rest = max(1.0, (failed.finished_at or now) + FAILED_PAUSE_SECONDS - now)
            refusal = Refused(failed.error or "the last request failed", retry_after=rest, code=FAILED_LATELY)
            refusal.__cause__ = restore_error(failed.error_kind, failed.error, key.account_id)
            return refusal
        if requests.count_open_of_token(connection, self.token_id) >= self.max_open:
            message = f"this token has {self.max_open} open requests, its most; wait until one has ended"
            return Refused(message, retry_after=_RETRY_SECONDS, code=OPEN_REQUESTS)
        at = requests.to_datetime(now)
        if self.daily_new_keys is None:
            return None
        if token_days.get_new_keys(connection, self.token_id, at.date()) < self.daily_new_keys:
            return None
        midnight = at.replace(hour=0, minute=0, second=0, microsecond=0) + _ONE_DAY
        message = (
            f"this token has requested {self.daily_new_keys} new reports today, its most; ask again after midnight, UTC"
        )
        return Refused(message, retry_after=max(1.0, midnight.timestamp() - now), code=NEW_KEYS)

    def count_new_key(self, connection: Connection, now: float) -> None:
        """Count the new key of a request that was let in."""
        if self.daily_new_keys is not None:
            token_days.add_new_key(connection, self.token_id, requests.to_datetime(now).date(), self.daily_new_keys)
