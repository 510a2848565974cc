"""A report as a client gets it, and how it came."""

import re
import warnings
from collections.abc import Mapping
from dataclasses import dataclass
from functools import cached_property
from typing import TYPE_CHECKING, Literal

from adwarm_client import api_headers
from adwarm_client.column_table import Row
from adwarm_client.exchange import ApiResponse
from adwarm_client.keys import ReportKey
from adwarm_client.report_fields import to_frame
from adwarm_client.wording import format_duration

if TYPE_CHECKING:
    import pandas as pd

    from adwarm_client.document import Document

AnswerStatus = Literal["hit", "stale", "miss"]
TableName = Literal["daily", "summary"]
_MEMBER = re.compile(r"\s*([^\s;,]+)((?:\s*;\s*[a-z*][^;,=\s]*(?:=(?:\"(?:[^\"\\]|\\.)*\"|[^;,\s\"]*))?)*)\s*(?:,|$)")
_PARAMETER = re.compile(r";\s*([a-z*][^;,=\s]*)(?:=(\"(?:[^\"\\]|\\.)*\"|[^;,\s\"]*))?")
_STRING = re.compile(r'"((?:[^"\\]|\\.)*)"')
_MAX_HEADER = 8_192


class ReportWarning(UserWarning):
    """A report is old, degraded, or of other days than those asked for."""


@dataclass(frozen=True)
class ReportAnswer:
    """A report, and how it came.

    Attributes:
        key: what was asked for.
        status: `hit`: it was stored and fresh; `stale`: stored and old, and a fresh copy is requested; `miss`: it was
            fetched for this call.
        age_seconds: age of the data; None when the server does not say.
        ttl_seconds: how long it stays fresh, negative when it is stale; None for final data.
        coding: how it was sent: `zstd`, `br`, `gzip`, `identity`, or `cached` when the copy on disk is current.
        wire_bytes: bytes of the body on the wire.
        etag: its entity tag.
        content_type: type and format version of the document.
        raw: the document as bytes.
        source: where it came from: `entry` for the stored entry, `upstream` for a fetch, or the step of the fallback
            chain that answered: `cache`, `partitions`, `window` or `source:NAME`.
        is_degraded: whether it is less than what was asked for.
        reason: why it is degraded, or why a fallback answered; None otherwise.
        actions: what was tried before, with the outcome.
        other_window: the days that it has, `YYYY-MM-DD..YYYY-MM-DD`, when they are not those asked for; None otherwise.
    """

    key: ReportKey
    status: AnswerStatus
    age_seconds: float | None
    ttl_seconds: float | None
    coding: str
    wire_bytes: int
    etag: str
    content_type: str
    raw: bytes
    source: str = "entry"
    is_degraded: bool = False
    reason: str | None = None
    actions: tuple[str, ...] = ()
    other_window: str | None = None

    def __repr__(self) -> str:
        return f"ReportAnswer({self.key}, {self.status}, {self.coding}, {self.wire_bytes:,} bytes)"

    @cached_property
    def document(self) -> "Document":
        """The decoded document: its header, the summary over the window, and the daily rows, by column.

        Raises:
            Corrupt: this version of adwarm cannot read it.
        """
        from adwarm_client.document import decode_document

        return decode_document(self.raw, self.content_type)

    @property
    def window(self) -> str:
        """The days that it has, `YYYY-MM-DD..YYYY-MM-DD`."""
        return f"{self.document.header.since}..{self.document.header.until}"

    @property
    def rows(self) -> list[Row]:
        """The daily rows, oldest first; one warning is given if the report is old, degraded or of other days."""
        self._warn_once()
        return self.document.daily.to_rows()

    def frame(self, table: TableName = "daily") -> "pd.DataFrame":
        """Return a table as a DataFrame: days as timestamps, figures as numbers, ids as `load_days` spells them.

        `frame.attrs["adwarm"]` has the `status`, `age_seconds`, `window` and `reason` of the report. One
        `ReportWarning` is given for an answer that is old, degraded or of other days.

        Args:
            table: `daily`, or `summary` for one row per object over the whole window.
        """
        self._warn_once()
        frame = to_frame(self.document.daily if table == "daily" else self.document.window_table)
        frame.attrs["adwarm"] = {
            "status": self.status,
            "age_seconds": self.age_seconds,
            "window": self.window,
            "reason": self.reason,
        }
        return frame

    def _warn_once(self) -> None:
        """Warn of a report that is less than what was asked for; once, however often it is used."""
        if "_is_warned" in self.__dict__ or not (self.status == "stale" or self.is_degraded or self.other_window):
            return
        self.__dict__["_is_warned"] = True
        what = (
            f"has the days {self.other_window} instead" if self.other_window else f"of {self.window} is {self.status}"
        )
        age = "" if self.age_seconds is None else f", {format_duration(self.age_seconds)} old"
        why = "" if self.reason is None else f": {self.reason}"
        warnings.warn(f"{self.key} {what}{age}{why}", ReportWarning, stacklevel=3)


def make_answer(key: ReportKey, response: ApiResponse, document: bytes, content_type: str) -> ReportAnswer:
    """Return the answer of a response.

    Args:
        response: with status 200, or 304 for the copy on disk.
        document: the decoded document.
    """
    facts = read_cache_status(response.headers.get("cache-status", ""))
    ttl = _to_number(facts.get("ttl"))
    get = response.headers.get
    status = _find_status(facts, ttl)
    return ReportAnswer(
        key=key,
        status=status,
        age_seconds=_to_number(response.headers.get("age")),
        ttl_seconds=ttl,
        coding="cached" if response.status == 304 else response.coding,
        wire_bytes=len(response.body),
        etag=response.headers.get("etag", ""),
        content_type=content_type,
        raw=document,
        source=get(api_headers.SOURCE.lower()) or ("upstream" if status == "miss" else "entry"),
        is_degraded=get(api_headers.DEGRADED.lower(), "").strip() == "?1",
        reason=next(iter(read_strings(get(api_headers.REASON.lower(), ""))), None),
        actions=tuple(read_strings(get(api_headers.ACTIONS.lower(), ""))),
        other_window=get(api_headers.WINDOW.lower()),
    )


def read_strings(header: str) -> list[str]:
    """Return the quoted strings of a header (RFC 8941), in order."""
    return [re.sub(r"\\(.)", r"\1", text) for text in _STRING.findall(header[:_MAX_HEADER])]


def read_cache_status(header: str) -> dict[str, str]:
    """Return the parameters that adwarm wrote into a header Cache-Status (RFC 9211); `hit` has the value ``."""
    position = 0
    while match := _MEMBER.match(header, position):
        if match[1] == "adwarm":
            return {name: value.strip('"') for name, value in _PARAMETER.findall(match[2])}
        position = match.end()
        if position == len(header):
            break
    return {}


def _find_status(facts: Mapping[str, str], ttl: float | None) -> AnswerStatus:
    if "hit" not in facts:
        return "miss"
    return "stale" if ttl is not None and ttl < 0 else "hit"


def _to_number(text: str | None) -> float | None:
    return float(text) if text is not None and re.fullmatch(r"-?[0-9]{1,15}", text.strip()) else None
