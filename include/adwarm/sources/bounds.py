"""The bounds of calls and of pages that every reader of a source keeps: batches, discovery, reconciliation."""

from adwarm.foundation.errors import Corrupt, TooMuchData
from adwarm.foundation.time_limit import TimeLimit
from adwarm.settings import SourceSettings
from adwarm.sources.protocol import CursorTrail

PAGE_ROWS = 500
"""Rows of a page. Platforms allow more, and time out on them; a request that does is tried with smaller pages."""
CONNECT_SECONDS = 3.05
"""Timeout of connecting to one address: a little more than the time after which TCP repeats its first packet."""
MAX_RESPONSE_BYTES = 16 * 2**20
"""Larger responses are refused, also once decompressed; a full page of insights is below a tenth of it."""
MAX_ROWS = 500_000
"""Rows of one request; a larger one is split. A year of an account with a thousand ads fits."""
MAX_BYTES = 512 * 2**20
"""Bytes of one request over all its pages; a larger one is split. They are kept compressed while they are read."""
MAX_SPARSE_PAGES = 100
"""Pages of one request that are not full although another follows; honest platforms send few, and end."""


class PageTrail:
    """The pages of one result that were read so far: one place for the bounds that every list of pages keeps.

    A page that another one follows is expected to be full. Those that are not are few where a platform is honest, so
    their number is bounded, and so are the rows and bytes of them all.

    Args:
        subject: named in an error, such as the account.
    """

    def __init__(self, subject: str) -> None:
        self.cursor: str | None = None
        self.count = self.size_bytes = 0
        self._subject = subject
        self._rows, self._filled = 0, 0.0
        self._cursors = CursorTrail()

    def resume(self, cursor: str | None, count: int, rows: int, size_bytes: int) -> None:
        """Continue after `count` pages that were read before and were full."""
        self.cursor, self.count, self.size_bytes = cursor, count, size_bytes
        self._rows, self._filled = rows, float(count)
        self._cursors.follow(cursor)

    def add(self, next_cursor: str | None, rows: int, filled: float, size_bytes: int = 0) -> None:
        """Add a page.

        Args:
            next_cursor: leads to the next page; None after the last.
            rows: its rows.
            filled: how full it is, from 0 to 1.
            size_bytes: its size.

        Raises:
            Corrupt: the next cursor repeats an earlier one, or too many pages are not full.
            TooMuchData: there are too many rows or bytes.
        """
        self.count += 1
        self.size_bytes += size_bytes
        self._rows += rows
        self._filled += min(1.0, filled)
        self.cursor = self._cursors.follow(next_cursor)
        if self.cursor is not None:
            self._check_bounds()

    def _check_bounds(self) -> None:
        if self.count - self._filled >= MAX_SPARSE_PAGES:
            raise Corrupt(
                f"{self._subject}: {self.count:,} pages have only {self._rows:,} rows, and another follows; the pages "
                f"that are not full may be {MAX_SPARSE_PAGES} at most",
                code="pages",
            )
        for name, value, limit in (
            ("rows", self._rows, MAX_ROWS),
            ("bytes", self.size_bytes, MAX_BYTES),
        ):
            if value >= limit:
                raise TooMuchData(f"{self._subject}: the result exceeds {limit:,} {name}; request fewer days or fields")


def call_limit(rules: SourceSettings) -> TimeLimit:
    """Return the time of one call with its retries, which begins when the first attempt is admitted."""
    return TimeLimit(rules.call_timeout, "the call", "ADWARM_SOURCE__CALL_TIMEOUT", waits_for_call=True)
