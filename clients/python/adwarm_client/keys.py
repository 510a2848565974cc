"""What a dashboard opens, who opens it, and how urgent it is."""

import re
from collections.abc import Container
from dataclasses import dataclass
from enum import IntEnum, StrEnum
from typing import Final

from adwarm_client.date_ranges import validate_date_range
from adwarm_client.errors import BadRequest

MAX_ACCOUNT_ID: Final = 64
"""The most characters of an account id."""
_ACCOUNT = re.compile(rf"(?!all$)[A-Za-z0-9][A-Za-z0-9._:-]{{0,{MAX_ACCOUNT_ID - 1}}}")
_META_DIGITS = re.compile(r"[0-9]{1,20}")
_REPORT = re.compile(r"[a-z][a-z0-9_]{0,39}")


def find_account_id(text: str) -> str | None:
    """Return the account id in a text, as it is written there; None for a text that is none."""
    account_id = text.strip()
    return account_id if _ACCOUNT.fullmatch(account_id) else None


def check_account_id(text: str) -> str:
    """Return the account id in a text, as it is written there.

    An id begins with a letter or digit, then come letters, digits and `._:-`. Ids that differ in case are two accounts.
    `all` is none, since it stands for every account.

    Raises:
        BadRequest: `text` is not a valid account id.
    """
    account_id = find_account_id(text)
    if account_id is None:
        raise BadRequest(
            f"account id {text[:70]!r} is not valid; it is up to {MAX_ACCOUNT_ID} letters, digits and ._:- "
            "and begins with a letter or digit, such as act_1234"
        )
    return account_id


def normalize_account_id(text: str, stored: Container[str] = (), *, is_meta: bool = True) -> str:
    """Return the canonical id of the account that a text means: what its platform calls it.

    Bare digits are the account with this id in `stored`, else one of Meta's: `act_` and the digits.

    Args:
        is_meta: whether bare digits are one of Meta's that `stored` lacks.

    Raises:
        BadRequest: `text` is not a valid account id.
    """
    account_id = check_account_id(text)
    of_meta = f"act_{account_id}"
    if not _META_DIGITS.fullmatch(account_id) or account_id in stored:
        return account_id
    return of_meta if is_meta or of_meta in stored else account_id


def spell_account_id(account_id: str) -> list[str]:
    """Return how a table may write a canonical account id: one of Meta's without `act_` and with it."""
    digits = account_id.removeprefix("act_")
    is_meta = digits != account_id and _META_DIGITS.fullmatch(digits)
    return [digits, account_id] if is_meta else [account_id]


@dataclass(frozen=True, slots=True, order=True)
class ReportKey:
    """What a dashboard opens: an account, a date range and a report.

    Attributes:
        account_id: as the server has it; bare digits are what `normalize_account_id` says.
        date_range: a preset such as `last_7d`, or `YYYY-MM-DD..YYYY-MM-DD`.
        report: name of the query in the settings.
    """

    account_id: str
    date_range: str
    report: str = "default"

    @classmethod
    def parse(cls, account: str, date_range: str, report: str = "default") -> "ReportKey":
        """Return the key of external input.

        Raises:
            BadRequest: a part is not valid; the message says which one and what to write.
        """
        if not _REPORT.fullmatch(report):
            raise BadRequest(f"report {report[:60]!r} is not a valid name; use lower-case letters, digits and _")
        return cls(check_account_id(account), validate_date_range(date_range.strip()), report)

    def __str__(self) -> str:
        suffix = "" if self.report == "default" else f" [{self.report}]"
        return f"{self.account_id} {self.date_range}{suffix}"


class Actor(StrEnum):
    """Who opened a report. Only `human` and `embedded` opens train the forecast and count in scores."""

    HUMAN = "human"
    EMBEDDED = "embedded"
    API = "api"
    WARMER = "warmer"

    @property
    def is_human(self) -> bool:
        """Whether a human was waiting for the answer."""
        return self in {Actor.HUMAN, Actor.EMBEDDED}


class Priority(IntEnum):
    """Priority class of a call to the platform; the smaller number goes first."""

    CRITICAL = 0
    HIGH = 1
    NORMAL = 2
    LOW = 3

    @classmethod
    def parse(cls, text: str) -> "Priority":
        """Return the priority named `text`, ignoring case.

        Raises:
            ValueError: no priority has that name; the message lists them.
        """
        try:
            return cls[text.strip().upper()]
        except KeyError:
            names = ", ".join(p.name.lower() for p in cls)
            raise ValueError(f"priority {text!r} is not one of {names}") from None
