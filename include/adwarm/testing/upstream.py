"""What the upstream of a contract test holds, and the ways in which it can fail."""

from collections.abc import Iterator
from dataclasses import dataclass, field
from datetime import UTC, date, datetime, timedelta
from enum import StrEnum
from typing import Final

from adwarm.foundation.local_time import zone
from adwarm.model import Account, Row, Window

UNICODE_NAME: Final = 'Été ☀ 株式会社 🎈 O\'Neill "50 %" <b>'
LARGEST_COUNT: Final = "912345678901234"
_PERIOD = Window(date(2026, 10, 19), date(2026, 11, 8))
_QUIET = Window(date(2026, 11, 9), date(2026, 11, 15))
_GAP = date(2026, 10, 28)
_ACCOUNTS = (
    Account("act_1001", "Europe/Berlin", "Europe/Berlin", "EUR", name="Sample one"),
    Account("act_1002", "America/New_York", "America/New_York", "USD", name="Sample two"),
)
_ADS = (
    ("1001", "31", "21", "123456789012345601", UNICODE_NAME),
    ("1001", "31", "21", "123456789012345602", "Autumn"),
    ("1001", "31", "22", "123456789012345603", "Winter"),
    ("1001", "32", "23", "123456789012345604", "Spring"),
    ("1002", "33", "24", "123456789012345605", "Autumn"),
)
_FIGURES = ("impressions", "reach", "clicks", "inline_link_clicks")


class UpstreamFailure(StrEnum):
    """How an upstream can fail, and so which error a source must raise."""

    UNREACHABLE = "unreachable"
    HANGS = "hangs"
    THROTTLED = "throttled"
    TOO_MUCH_DATA = "too_much_data"
    DENIED = "denied"
    TOKEN_DEAD = "token_dead"
    ABSENT = "absent"
    DAMAGED = "damaged"


@dataclass(frozen=True)
class UpstreamData:
    """What the upstream holds, as the source must return it.

    Attributes:
        accounts: every account that the source can read, at least two.
        daily_rows: the rows of the days with delivery, one per object and day; values are text, as the platform has it.
        window: the days of `daily_rows`, at least a week, with a change of the clock in the zone of each account.
        quiet_window: days on which no account has delivery.
        level: what a row is about.
        zero_rows: rows of zeros that the upstream holds as well; a source leaves them out.

    Example:
        ```python
        from dataclasses import replace
        from adwarm.testing import UpstreamData, sample_data

        data: UpstreamData = replace(sample_data(), level="ad")
        ```
    """

    accounts: tuple[Account, ...]
    daily_rows: tuple[Row, ...]
    window: Window
    quiet_window: Window
    level: str = "ad"
    zero_rows: tuple[Row, ...] = field(default=())

    def rows_of(self, account_id: str, window: Window | None = None) -> list[Row]:
        """Return the rows of an account, on all days or on those of a window."""
        days = window or self.window
        owner = account_id.removeprefix("act_")
        return [
            row
            for row in self.daily_rows
            if row["account_id"] == owner and date.fromisoformat(row["date_start"]) in days
        ]

    @property
    def main_account(self) -> Account:
        """The account with the most rows."""
        return max(self.accounts, key=lambda account: len(self.rows_of(account.id)))

    @property
    def fields(self) -> tuple[str, ...]:
        """The fields of the rows, without the days."""
        names = dict.fromkeys(name for row in self.daily_rows for name in row)
        return tuple(name for name in names if name not in {"date_start", "date_stop"})


def sample_data() -> UpstreamData:
    """Return sample rows: two accounts in two zones, ids of 18 digits, a day without rows, and rows of zeros.

    Example:
        ```python
        from adwarm.testing import sample_data

        rows = [*sample_data().daily_rows, *sample_data().zero_rows]
        ```
    """
    rows: list[Row] = []
    zeros: list[Row] = []
    for number, ad in enumerate(_ADS):
        for day in _PERIOD.days():
            if day == _GAP or (number == 1 and day.day % 3 == 0):
                continue
            (zeros if (number, day.day) == (2, 30) else rows).append(_row(number, ad, day))
    zeros = [{**row, **dict.fromkeys(_FIGURES, "0"), "spend": "0.00"} for row in zeros]
    return UpstreamData(_ACCOUNTS, tuple(rows), _PERIOD, _QUIET, zero_rows=tuple(zeros))


def _row(number: int, ad: tuple[str, ...], day: date) -> Row:
    step = (day - _PERIOD.since).days
    impressions = 1_000 + 137 * number + 11 * step
    is_largest = number == 3 and step == 0
    return {
        **dict(zip(("account_id", "campaign_id", "adset_id", "ad_id", "ad_name"), ad, strict=True)),
        "impressions": "900000000000000" if is_largest else str(impressions),
        "reach": str(impressions * 4 // 5),
        "clicks": str(20 + number + step),
        "inline_link_clicks": str(10 + step),
        "spend": "1234567890.12" if is_largest else f"{3 + number + step * 0.37:.2f}",
        "date_start": day.isoformat(),
        "date_stop": day.isoformat(),
    }


def clock_changes(account: Account, window: Window) -> Iterator[date]:
    """Yield the days of a window that do not have 24 hours in the data zone of an account."""
    local = zone(account.data_zone)
    for day in window.days():
        start, end = (datetime(at.year, at.month, at.day, tzinfo=local) for at in (day, day + timedelta(days=1)))
        if end.astimezone(UTC) - start.astimezone(UTC) != timedelta(days=1):
            yield day
