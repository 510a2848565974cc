"""Reads a CSV of one's own ads for the fatigue benchmark: a row per ad and day, with or without labels.

Understood are the columns of the product, of common connectors, and of an export of Meta's Ads Manager by day, in
English or German. Everything that is wrong is reported at once, with its line and what to do; nothing is guessed.
"""

import csv
import io
import math
import re
from collections.abc import Sequence
from dataclasses import dataclass, field
from datetime import date, timedelta
from pathlib import Path
from typing import Final

import numpy as np

from adwarm.fatigue.panel import CLICKS, LINK_CLICKS, AdPanel, FloatArray, empty_figures
from tests.benchmarks.fatigue_signals import AdSeries

LINK_CLICK_COLUMNS: Final = ("inline_link_clicks", "link clicks", "link-klicks")
"""Clicks on the link, which stand in for all clicks where a file has only these."""
DAY_COLUMNS: Final = frozenset({"day", "tag"})
"""Columns of the breakdown by day; beside them, an export's start and end may be those of the whole report."""
COLUMNS: Final = {
    "account_id": ("account_id", "account id", "konto-id"),
    "ad_id": ("ad_id", "ad id", "anzeigen-id"),
    "ad_name": ("ad_name", "ad name", "anzeigenname"),
    "day": ("day", "tag", "date_start", "date", "datum", "reporting starts", "berichtsstart"),
    "last_day": ("date_stop", "reporting ends", "berichtsende"),
    "impressions": ("impressions", "impressionen"),
    "clicks": ("clicks", "clicks (all)", "klicks (alle)", *LINK_CLICK_COLUMNS),
    "spend": ("spend", "amount spent", "cost", "ausgegebener betrag"),
    "reach": ("reach", "reichweite"),
    "frequency": ("frequency", "frequenz"),
    "fatigued_from": ("fatigued_from",),
    "platform_level": ("platform_level",),
}
"""Names of each column in lower case; a currency in parentheses after the name does not matter."""

FATIGUED_LEVELS: Final = frozenset({"medium", "high", "creative limited", "creative fatigue"})
HEALTHY_LEVELS: Final = frozenset({"", "none", "low", "active"})
MAX_DAYS: Final = 1_100
MAX_PROBLEMS: Final = 10
OWN_ACCOUNT: Final = "act_own"

_CURRENCY = re.compile(r"\s*\([A-Z]{3}\)\s*$")
_SPACES = " '\u2019\u00a0\u202f"
_INTEGER = re.compile(rf"\d+|\d{{1,3}}(?:[.,{_SPACES}]\d{{2,3}})*[.,{_SPACES}]\d{{3}}")
_DECIMAL_TAIL = re.compile(r"[.,](?=\d+$)")
_SEPARATOR_LINE = re.compile(r"\s*\"?sep=.\"?\s*", re.IGNORECASE)
"""A line that Excel writes above the header."""
_FLOAT_ID = re.compile(r"(\d+)\.0+")
_LOST_DIGITS = re.compile(r"\d(?:[.,]\d+)?E\+\d+", re.IGNORECASE)
_MAX_FIGURE = 1e15


class BadCsv(Exception):
    """The file cannot be used; the message lists every problem with its line and what to do."""


@dataclass(frozen=True, slots=True)
class OwnAds:
    """Ads of a file.

    Attributes:
        series: the ads; the frequency is that of each day's row, where there is one.
        has_labels: whether the file says which ads are fatigued.
        notes: what was left out, in words.
    """

    series: AdSeries
    has_labels: bool
    notes: tuple[str, ...] = ()


@dataclass(slots=True)
class _Row:
    line: int
    account: str
    ad: str
    name: str
    day: date
    figures: dict[str, float]
    fatigued_from: date | None
    level: str


@dataclass(slots=True)
class _Reader:
    columns: dict[str, int]
    decimal: str
    problems: list[str] = field(default_factory=list)
    skipped: int = 0

    def read(self, line: int, cells: Sequence[str]) -> _Row | None:
        """Return a row; None when it is a total, or has problems, which are noted."""
        before = len(self.problems)
        cell = {name: cells[at].strip() if at < len(cells) else "" for name, at in self.columns.items()}
        ad = self._id(line, "ad_id", cell.get("ad_id", "")) or cell.get("ad_name", "")
        if not ad or not (cell["day"] or cell.get("ad_id")):
            self.skipped += 1
            return None
        day = self._day(line, "day", cell["day"])
        last = self._day(line, "last_day", cell["last_day"]) if cell.get("last_day") else day
        if day and last and day != last:
            self.problems.append(f"line {line}: the row covers {day} to {last}; export with the breakdown By time: Day")
        figures = {
            name: self._number(line, name, cell[name])
            for name in ("impressions", "clicks", "spend", "reach", "frequency")
            if name in cell
        }
        fatigued_from = self._day(line, "fatigued_from", cell["fatigued_from"]) if cell.get("fatigued_from") else None
        level = self._level(line, cell.get("platform_level", ""))
        account = self._id(line, "account_id", cell.get("account_id", ""))
        if len(self.problems) > before or day is None:
            return None
        account = f"act_{account}" if account.isdecimal() else account or OWN_ACCOUNT
        return _Row(line, account, ad, cell.get("ad_name", ""), day, figures, fatigued_from, level)

    def _id(self, line: int, name: str, text: str) -> str:
        """Return an id without the fraction of a column of decimals; one that lost digits is a problem."""
        if _LOST_DIGITS.fullmatch(text):
            self.problems.append(f"line {line}: {name} is {text!r}, which lost digits; keep ids as text")
        match = _FLOAT_ID.fullmatch(text)
        return match[1] if match else text

    def _day(self, line: int, name: str, text: str) -> date | None:
        stated = re.split(r"[T ]", text, maxsplit=1)[0].replace("/", "-")
        if german := re.fullmatch(r"(\d\d)\.(\d\d)\.(\d{4})", stated):
            stated = "-".join(german.groups()[::-1])
        try:
            return date.fromisoformat(stated)
        except ValueError:
            self.problems.append(f"line {line}: {name} is {text!r}; write dates as 2026-01-31")
            return None

    def _level(self, line: int, text: str) -> str:
        level = text.lower().replace("_", " ")
        if level not in FATIGUED_LEVELS | HEALTHY_LEVELS:
            known = ", ".join(sorted((FATIGUED_LEVELS | HEALTHY_LEVELS) - {""}))
            self.problems.append(f"line {line}: platform_level is {text!r}; known levels: {known}")
        return level

    def _number(self, line: int, name: str, text: str) -> float:
        """Return a figure, 0 for an empty cell; a problem is noted."""
        if not text:
            return math.nan if name in {"reach", "frequency"} else 0.0
        is_count = name in {"impressions", "clicks", "reach"}
        plain = re.sub(r"\D", "", text) if is_count and _INTEGER.fullmatch(text) else _normalize(text, self.decimal)
        try:
            value = float(plain)
        except ValueError:
            value = math.nan
        is_whole = value < _MAX_FIGURE and (not is_count or value == int(value))
        if not is_whole or value < 0:
            kind = "a whole number of 0 or more" if is_count else "a number of 0 or more, without a currency"
            self.problems.append(f"line {line}: {name} is {text!r}; write {kind}")
        return value


def read_own_ads(path: Path) -> OwnAds:
    """Return the ads of a CSV file.

    Raises:
        BadCsv: the file cannot be read, columns are missing, or cells are wrong.
    """
    table = _read_table(path)
    header, lines = table[0], table[1:]
    columns = _find_columns(header[1])
    reader = _Reader(columns, _decimal_mark(columns, lines))
    rows = [row for line, cells in lines if (row := reader.read(line, cells)) is not None]
    problems = reader.problems + _check_rows(rows)
    if not rows and not problems:
        problems = ["there is no row of an ad below the header; export rows by ad and day"]
    _raise(path, problems)
    notes = [f"{reader.skipped} rows without an ad are totals and were left out"] if reader.skipped else []
    notes += [] if "account_id" in columns else ["no account_id: all ads count as one account"]
    kind = _click_kind(header[1], columns)
    notes += ["link clicks stand in for all clicks"] if kind == LINK_CLICKS else []
    return OwnAds(
        _build(rows, columns, kind), any(name in columns for name in ("fatigued_from", "platform_level")), tuple(notes)
    )


def _raise(path: Path, problems: Sequence[str]) -> None:
    if problems:
        more = len(problems) - MAX_PROBLEMS
        listed = [*problems[:MAX_PROBLEMS], *([f"and {more:,} more"] if more > 0 else [])]
        raise BadCsv(f"{path} cannot be used:\n  " + "\n  ".join(listed))


def _read_table(path: Path) -> list[tuple[int, list[str]]]:
    """Return the lines that are not empty, each with its number in the file."""
    try:
        data = path.read_bytes()
    except OSError as error:
        raise BadCsv(f"{path} cannot be read: {error.strerror}; give the path of a CSV file") from None
    is_wide = data[:2] in {b"\xff\xfe", b"\xfe\xff"}
    try:
        text = data.decode("utf-16" if is_wide else "utf-8-sig")
    except UnicodeDecodeError:
        raise BadCsv(f"{path} is not UTF-8; save it as CSV UTF-8, not as an Excel file") from None
    lines = [line for line in text.splitlines() if line][:2]
    start = 1 if lines and _SEPARATOR_LINE.fullmatch(lines[0]) else 0
    first = lines[start : start + 1]
    if not first:
        raise BadCsv(f"{path} is empty; its first line must name the columns")
    delimiter = max(",;\t", key=first[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        table = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise BadCsv(f"{path}, line {reader.line_num}: {error}; save the file as CSV again") from None
    return table[start:]


def _name_columns(header: Sequence[str]) -> list[str]:
    return [_CURRENCY.sub("", cell.strip()).lower() for cell in header]


def _click_kind(header: Sequence[str], columns: dict[str, int]) -> str:
    """Return which kind of clicks the file has."""
    return LINK_CLICKS if _name_columns(header)[columns["clicks"]] in LINK_CLICK_COLUMNS else CLICKS


def _find_columns(header: Sequence[str]) -> dict[str, int]:
    names = _name_columns(header)
    columns = {
        column: names.index(alias) for column, aliases in COLUMNS.items() for alias in aliases[::-1] if alias in names
    }
    if DAY_COLUMNS.intersection(names):
        columns.pop("last_day", None)
    missing = [name for name in ("day", "impressions", "clicks") if name not in columns]
    if "ad_id" not in columns and "ad_name" not in columns:
        missing.insert(0, "ad_id")
    if missing:
        wanted = "; ".join(f"{name}: {' or '.join(COLUMNS[name][:2])}" for name in missing)
        raise BadCsv(f"columns are missing ({wanted}); the first line has: {', '.join(header)}")
    return columns


def _decimal_mark(columns: dict[str, int], lines: Sequence[tuple[int, list[str]]]) -> str:
    """Return the decimal mark of spend and frequency: the one that some cell has with other than three digits."""
    marks: dict[str, int] = {}
    for name in ("spend", "frequency"):
        at = columns.get(name)
        for line, cells in lines if at is not None else ():
            text = cells[at].strip() if at is not None and at < len(cells) else ""
            match = _DECIMAL_TAIL.search(text)
            is_decimal = match and (len(text) - match.end() != 3 or ("." in text and "," in text))
            if match and is_decimal and text.count(match[0]) == 1:
                marks.setdefault(match[0], line)
    if len(marks) > 1:
        first, second = sorted(marks.values())
        raise BadCsv(f"lines {first} and {second} use different decimal marks; use one in the whole file")
    return next(iter(marks), ".")


def _normalize(text: str, decimal: str) -> str:
    """Return a number as Python reads it; anything but digits, separators and a sign stays and fails."""
    thousands = "," if decimal == "." else "."
    whole, mark, fraction = text.partition(decimal)
    if re.fullmatch(rf"-?\d{{1,3}}(?:[{thousands}{_SPACES}]\d{{2,3}})*[{thousands}{_SPACES}]\d{{3}}", whole):
        whole = re.sub(r"[^\d-]", "", whole)
    return whole + ("." if mark else "") + fraction if not fraction or fraction.isdigit() else text


def _check_rows(rows: Sequence[_Row]) -> list[str]:
    problems: list[str] = []
    seen: dict[tuple[str, str, date], int] = {}
    labels: dict[tuple[str, str], tuple[int, date]] = {}
    for row in rows:
        key = row.account, row.ad
        if (*key, row.day) in seen:
            first = seen[*key, row.day]
            problems.append(
                f"lines {first} and {row.line}: ad {row.ad} has {row.day} twice; keep one row, or remove the breakdown"
            )
        seen.setdefault((*key, row.day), row.line)
        if row.figures["clicks"] > row.figures["impressions"]:
            problems.append(f"line {row.line}: more clicks than impressions; check which column is which")
        if row.fatigued_from is not None:
            line, label = labels.setdefault(key, (row.line, row.fatigued_from))
            if label != row.fatigued_from:
                problems.append(f"lines {line} and {row.line}: ad {row.ad} has two dates of fatigued_from; keep one")
    if rows:
        first_day, last_day = min(row.day for row in rows), max(row.day for row in rows)
        if (last_day - first_day).days >= MAX_DAYS:
            problems.append(f"the days span {first_day} to {last_day}; check the years, or use at most {MAX_DAYS} days")
    return problems


def _build(rows: Sequence[_Row], columns: dict[str, int], click_kind: str) -> AdSeries:
    rows = sorted(rows, key=lambda row: (row.account, row.ad, row.day))
    first = min(row.day for row in rows)
    days = (max(row.day for row in rows) - first).days + 1
    ads = list(dict.fromkeys((row.account, row.ad) for row in rows))
    index = {key: number for number, key in enumerate(ads)}
    at = np.array([index[row.account, row.ad] for row in rows]), np.array([(row.day - first).days for row in rows])

    def fill(name: str, empty: float) -> FloatArray:
        values = np.full((len(ads), days), empty)
        values[at] = [row.figures.get(name, math.nan) for row in rows]
        return values

    onset = np.full(len(ads), -1)
    for row in sorted(rows, key=lambda row: row.day, reverse=True):
        ad = index[row.account, row.ad]
        if row.level in FATIGUED_LEVELS:
            onset[ad] = (row.day - first).days
    for row in rows:
        if row.fatigued_from is not None:
            column = max(0, (row.fatigued_from - first) // timedelta(days=1))
            onset[index[row.account, row.ad]] = column if column < days else -1
    names = {(row.account, row.ad): row.name or row.ad for row in rows}
    panel = AdPanel(
        account_ids=tuple(account for account, _ in ads),
        ad_ids=tuple(ad for _, ad in ads),
        names=np.broadcast_to(np.array([[names[key]] for key in ads], object), (len(ads), days)),
        first_day=first,
        impressions=fill("impressions", 0.0),
        clicks=fill("clicks", 0.0),
        spend=fill("spend", 0.0) if "spend" in columns else empty_figures(len(ads), days),
        results=empty_figures(len(ads), days),
        is_stored=np.ones((len(ads), days), bool),
        clicks_from=(click_kind,) * len(ads),
    )
    return AdSeries(panel, fill("frequency", math.nan), onset)
