"""Decides which rows of a log are opens, and of which account where the log names a dashboard instead."""

import csv
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from adwarm.access_log.column_mapping import WHERE
from adwarm.access_log.events import date_range_reader
from adwarm.access_log.web_requests import Columns
from adwarm.foundation.errors import BadRequest
from adwarm.settings import AccessLogSettings

_SETTING = "ADWARM_ACCESS_LOG__ACCOUNTS"
_HEADER = "account"
Table = Mapping[str, tuple[str, str | None]]


class OpenRules:
    """Leaves out rows that are not opens, and turns the ids of dashboards or charts into accounts and ranges.

    Args:
        ignore: is called for each row that is left out, with the id that the table of accounts lacks.
        normalize: returns the canonical id of an account.

    Raises:
        BadRequest: the table of accounts cannot be read, or holds what is not an account or range.
    """

    def __init__(
        self, settings: AccessLogSettings, ignore: Callable[[str | None], None], normalize: Callable[[str], str]
    ) -> None:
        self._where = {WHERE + column: frozenset(values) for column, values in settings.where.items()}
        self._accounts = _load_table(settings, normalize)
        self._ignore = ignore

    @property
    def is_empty(self) -> bool:
        """Whether every row is an open and names its account."""
        return not self._where and not self._accounts

    def select_opens(self, columns: Columns, rows: Sequence[int]) -> tuple[list[int], Columns]:
        """Return the rows whose values are those of an open, and their columns."""
        chosen = list(range(len(rows)))
        for name, values in self._where.items():
            column = columns.get(name)
            chosen = [] if column is None else [row for row in chosen if to_text(column[row]) in values]
        for _ in range(len(rows) - len(chosen)):
            self._ignore(None)
        return [rows[row] for row in chosen], {
            name: [values[row] for row in chosen] for name, values in columns.items()
        }

    def add_accounts(self, columns: Columns, rows: Sequence[int]) -> tuple[Sequence[int], Columns]:
        """Return the rows whose id is in the table, with the account and, where the table has one, the range."""
        if not self._accounts:
            return rows, columns
        owners = [self._accounts.get(to_text(value)) for value in columns["account_id"]]
        for value, item in zip(columns["account_id"], owners, strict=True):
            if item is None:
                self._ignore(to_text(value) or None)
        indexes = [row for row, item in enumerate(owners) if item is not None]
        given = [item for item in owners if item is not None]
        selected = {name: [values[row] for row in indexes] for name, values in columns.items()}
        ranges = selected.get("date_range") or [None] * len(indexes)
        selected["account_id"] = [account for account, _ in given]
        selected["date_range"] = [own or value for value, (_, own) in zip(ranges, given, strict=True)]
        return [rows[row] for row in indexes], selected


def to_text(value: Any) -> str:
    """Return a value of a log as the settings write it."""
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, float) and value.is_integer():
        return str(int(value))
    return "" if value is None else str(value).strip()


def _load_table(settings: AccessLogSettings, normalize: Callable[[str], str]) -> Table:
    given = settings.accounts
    if not given:
        return {}
    read = date_range_reader(settings.date_ranges)
    lines = _read_file(given) if isinstance(given, str) else {name: text.split() for name, text in given.items()}
    table = {}
    for name, words in lines.items():
        try:
            account, date_range = normalize(words[0]), " ".join(words[1:])
            table[name.strip()] = (account, read(date_range) if date_range else None)
        except (BadRequest, IndexError) as error:
            raise BadRequest(f"{_SETTING}: {name[:60]!r} needs an account, and perhaps a range: {error}") from None
    return table


def _read_file(path: str) -> dict[str, list[str]]:
    """Return account and range by id, by the columns that say `account` and `range`, and the first of the others."""
    try:
        with Path(path).expanduser().open(encoding="utf-8-sig", newline="") as file:
            names, *lines = csv.reader(file)
    except (OSError, UnicodeDecodeError, ValueError, csv.Error) as error:
        raise BadRequest(f"{_SETTING}: {path} cannot be read as CSV with a header: {error}") from None
    account = next((at for at, name in enumerate(names) if _HEADER in name.casefold()), None)
    date_range = next((at for at, name in enumerate(names) if "range" in name.casefold()), None)
    key = next((at for at in range(len(names)) if at not in {account, date_range}), None)
    if account is None or key is None:
        raise BadRequest(f"{_SETTING}: the header of {path} must name an id, account_id, and perhaps date_range")
    width = max(key, account, date_range or 0)
    whole = [line for line in lines if len(line) > width]
    return {line[key]: [line[account], *([line[date_range]] if date_range is not None else [])] for line in whole}
