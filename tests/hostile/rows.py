"""The true rows of every account of the hostile upstream: three ads whose figures follow from account, ad and day."""

import json
from collections.abc import Iterator, Mapping
from datetime import date, timedelta
from typing import Any

ADS = 3
FOREIGN = "FOREIGN"
"""The ad name of every row that must never be stored."""

Row = dict[str, Any]


def digits(account: str) -> str:
    """Return an account id without `act_`."""
    return account.removeprefix("act_")


def windows(params: Mapping[str, str]) -> list[tuple[date, date]]:
    """Return the date ranges of a query, one per day with a daily increment."""
    spans = json.loads(params["time_ranges"]) if "time_ranges" in params else [json.loads(params["time_range"])]
    ranges = [(date.fromisoformat(span["since"]), date.fromisoformat(span["until"])) for span in spans]
    if params.get("time_increment") == "1":
        return [(day, day) for since, until in ranges for day in days(since, until)]
    return ranges


def days(since: date, until: date) -> Iterator[date]:
    """Yield each day of a range."""
    for number in range((until - since).days + 1):
        yield since + timedelta(days=number)


def rows_of(account: str, params: Mapping[str, str]) -> list[Row]:
    """Return the correct rows for a query about an account."""
    return [row for since, until in windows(params) for row in window_rows(account, since, until)]


def window_rows(account: str, since: date, until: date) -> list[Row]:
    """Return the correct rows of a date range, one for each ad."""
    return [_row(digits(account), number, since, until) for number in range(1, ADS + 1)]


def _row(account: str, number: int, since: date, until: date) -> Row:
    shown = sum(_shown(account, number, day) for day in days(since, until))
    return {
        "account_id": account,
        "campaign_id": f"21{account}001",
        "adset_id": f"22{account}001",
        "ad_id": f"23{account}{number:03d}",
        "ad_name": f"Ad {number}",
        "impressions": str(shown),
        "reach": str(shown * 4 // 5),
        "frequency": "1.25",
        "clicks": str(shown // 50),
        "inline_link_clicks": str(shown // 60),
        "ctr": "2.0",
        "cpm": "5.0",
        "cpc": "0.25",
        "spend": f"{shown / 200:.2f}",
        "date_start": since.isoformat(),
        "date_stop": until.isoformat(),
    }


def _shown(account: str, number: int, day: date) -> int:
    return 1_000 + (int(account) * 31 + number * 17 + day.toordinal() * 7) % 900
