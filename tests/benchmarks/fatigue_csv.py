"""Reads a CSV of one's own ads for the fatigue benchmark: a row per ad and day, with or without labels.

Understood are the columns of the product and of an export of Meta's Ads Manager by day. Everything that is wrong is
reported at once, with its line and what to do; nothing is guessed.
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

from adwarm.fatigue.panel import AdPanel, FloatArray, empty_figures
from tests.benchmarks.fatigue_signals import AdSeries

COLUMNS: Final = {
    "account_id": ("account_id", "account id"),
    "ad_id": ("ad_id", "ad id"),
    "ad_name": ("ad_name", "ad name"),
    "day": ("date_start", "date", "day", "reporting starts"),
    "last_day": ("date_stop", "reporting ends"),
    "impressions": ("impressions",),
    "clicks": ("clicks", "clicks (all)"),
    "spend": ("spend", "amount spent"),
    "reach": ("reach",),
    "frequency": ("frequency",),
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
_INTEGER = re.compile(r"\d+|\d{1,3}([., '\u00a0\u202f]\d{3})+")
_DECIMAL_TAIL = re.compile(r"[.,](?=\d+$)")


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
        cell = {name: cells[at].strip() if at < len(cells) else "" for name, at in self.columns.items()}
        ad = cell.get("ad_id") or cell.get("ad_name", "")
        if not ad:
            self.skipped += 1
            return None
        before = len(self.problems)
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
        if len(self.problems) > before or day is None:
            return None
        account = cell.get("account_id") or OWN_ACCOUNT
        return _Row(line, account, ad, cell.get("ad_name", ""), day, figures, fatigued_from, level)

    def _day(self, line: int, name: str, text: str) -> date | None:
        try:
            return date.fromisoformat(re.split(r"[T ]", text, maxsplit=1)[0])
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
        if is_count and _INTEGER.fullmatch(text):
            return float(re.sub(r"\D", "", text))
        try:
            value = float(_normalize(text, self.decimal))
        except ValueError:
            value = math.nan
        is_whole = not is_count or value == int(value) if math.isfinite(value) else False
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
    return OwnAds(
        _build(rows, columns), any(name in columns for name in ("fatigued_from", "platform_level")), tuple(notes)
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
    first = text.lstrip("\r\n").splitlines()[:1]
    if not first:
        raise BadCsv(f"{path} is empty; its first line must name the columns")
    delimiter = max(",;\t", key=first[0].count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=delimiter)
    try:
        table = [(reader.line_num, cells) for cells in reader if any(cell.strip() for cell in cells)]
    except csv.Error as error:
        raise BadCsv(f"{path}, line {reader.line_num}: {error}; save the file as CSV again") from None
    return table


def _find_columns(header: Sequence[str]) -> dict[str, int]:
    names = [_CURRENCY.sub("", cell.strip()).lower() for cell in header]
    columns = {
        column: names.index(alias) for column, aliases in COLUMNS.items() for alias in aliases[::-1] if alias in names
    }
    missing = [name for name in ("day", "impressions", "clicks") if name not in columns]
    if "ad_id" not in columns and "ad_name" not in columns:
        missing.insert(0, "ad_id")
    if missing:
        wanted = "; ".join(f"{name}: {' or '.join(COLUMNS[name])}" for name in missing)
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
    if re.fullmatch(rf"-?\d{{1,3}}([{thousands} '\u00a0\u202f]\d{{3}})+", whole):
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


def _build(rows: Sequence[_Row], columns: dict[str, int]) -> AdSeries:
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
        ad_names=tuple(names[key] for key in ads),
        first_day=first,
        impressions=fill("impressions", 0.0),
        clicks=fill("clicks", 0.0),
        spend=fill("spend", 0.0) if "spend" in columns else empty_figures(len(ads), days),
        results=empty_figures(len(ads), days),
        is_stored=np.ones((len(ads), days), bool),
        clicks_from=("clicks",) * len(ads),
    )
    return AdSeries(panel, fill("frequency", math.nan), onset)
