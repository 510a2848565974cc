"""Proposes a pattern for lines of any form, by their time, their `key=value` pairs and what stands at fixed places."""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from adwarm.access_log.column_mapping import EVENT_FIELDS, REQUEST_FIELDS, REQUEST_ID
from adwarm.access_log.named_groups import GroupPattern
from adwarm.foundation.wording import format_part
from adwarm.log_check import column_values as kinds
from adwarm.log_check.column_values import FORMATS, MOST, Column
from adwarm.log_check.path_patterns import END
from adwarm.log_check.proposal import Proposal, propose
from adwarm.settings import AccessLogSettings

_QUOTED = r'"(?:[^"\\]|\\.)*"'
_TOKEN = re.compile(rf"([A-Za-z@$_][\w.@$-]*)=({_QUOTED}|\S*)|{_QUOTED}|\[[^\]]*\]|\S+")
_SKIPPED = rf'(?:(?:[^\s"=]+=)?{_QUOTED}|\[[^\]]*\]|\S+)\s+'
_PATH = "(path)"
_DIRECTIVES = {
    "Y": r"\d{4}",
    "y": r"\d\d",
    "p": "[AaPp][Mm]",
    "b": "[A-Z][a-z]{2}",
    "a": "[A-Z][a-z]{2}",
    "B": "[A-Z][a-z]+",
}
_CLOCK = r"\d\d:\d\d(?::\d\d(?:[.,]\d+)?)?"
_TIMES = (
    rf"\d{{4}}[-/]\d\d[-/]\d\d[T ]{_CLOCK}(?:Z| ?UTC| ?[+-]\d\d:?\d\d)?",
    rf"\d\d/[A-Z][a-z]{{2}}/\d{{4}}:{_CLOCK}(?: [+-]\d{{4}})?",
    rf"[A-Z][a-z]{{2}}, \d\d? [A-Z][a-z]{{2}} \d{{4}} {_CLOCK} (?:GMT|[+-]\d{{4}})",
    r"\b1\d{9}(?:\.\d+|\d{3}|\d{6}|\d{9})?\b",
    *dict.fromkeys(
        re.sub("%(.)", lambda match: _DIRECTIVES.get(match[1], r"\d\d?"), re.escape(text))
        for text in FORMATS if "%M" in text
    ),
)  # fmt: skip
"""Notations of times, those that name a zone or begin with the year first."""
_VALUES = {"account_id": r"(?:act_)?\d+", "status": r"\d{3}", "method": "[A-Z]+"}
_HALF, _PROBED, _MANY = 0.5, 50, 3


@dataclass(frozen=True, slots=True)
class _Lines:
    """Lines in parts, each under its key or, without one, under the number of parts since the last key, path or time.

    Attributes:
        time: the notation of their time.
        format: the format that reads it; None where none is needed.
        rows: the parts of each line with a time, in their order.
    """

    time: str
    format: str | None
    rows: list[dict[str, str]]


def are_pairs(texts: Sequence[str]) -> bool:
    """Whether the lines hold pairs of key and value, whatever stands between them."""
    probed = texts[:_PROBED]
    pairs = [sum(bool(token[1]) for token in _TOKEN.finditer(text)) for text in probed if text[:1] not in {"{", "["}]
    return sum(count >= _MANY for count in pairs) > MOST * len(probed)


def propose_lines(texts: Sequence[str], settings: AccessLogSettings) -> Proposal | None:
    """Return the settings that read lines of text, with one pattern for all of a line; None where none was found."""
    lines = _split(texts)
    if lines is None:
        return None
    plain: dict[str, Any] = {
        "columns": {},
        "where": {},
        "pattern": AccessLogSettings().pattern,
        "timestamp_format": lines.format,
    }
    proposal = propose(lines.rows, settings.model_copy(update=plain))
    if proposal.missing:
        return None
    columns = {name: name for name in (*EVENT_FIELDS, REQUEST_ID, *REQUEST_FIELDS) if name in lines.rows[0]}
    columns |= proposal.values.pop("columns", {})
    where = proposal.values.pop("where", {})
    pattern = _Writer(lines, columns, where).write(proposal.values.get("pattern"))
    proposal.values["pattern"] = pattern
    read = len(GroupPattern(pattern).read(texts)[0])
    proposal.notes[:] = [
        f"a pattern that reads {format_part(read, len(texts), 'line')} seen is in the command below",
        *(note.replace("LOG__WHERE", "LOG__PATTERN") for note in proposal.notes if "paths seen" not in note),
    ]
    proposal.values |= {"timestamp_format": lines.format} if lines.format else {}
    proposal.values |= {name: {} for name in ("columns", "where") if getattr(settings, name)}
    return proposal


def _split(texts: Sequence[str]) -> _Lines | None:
    for time in _TIMES:
        pattern = re.compile(time)
        if sum(bool(pattern.search(text)) for text in texts[:_PROBED]) < _HALF * len(texts[:_PROBED]):
            continue
        matches = [match for text in texts if (match := pattern.search(text))]
        times = kinds.find_times([Column("ts", [match[0] for match in matches])])
        if times:
            return _Lines(time, times[0].format, [_split_line(match) for match in matches])
    return None


def _split_line(match: re.Match[str]) -> dict[str, str]:
    """Return the parts of the line in which `match` is the time."""
    row: dict[str, str] = {}
    anchor, distance = "", 0
    for text in (match.string[: match.start()], None, match.string[match.end() :].removeprefix('"')):
        if text is None:
            row["ts"], anchor, distance = match[0], "ts", 0
        for token in _TOKEN.finditer(text or ""):
            value = (token[2] if token[1] else token[0]).strip('"')
            if token[1] or (_PATH not in row and kinds.is_url(value)):
                anchor, distance = token[1] or _PATH, 0
                row.setdefault(anchor, value)
            else:
                distance += 1
                row.setdefault(f"{anchor}+{distance}", value)
    return row


class _Writer:
    """Writes the pattern of lines of which some parts are needed."""

    def __init__(self, lines: _Lines, columns: Mapping[str, str], where: Mapping[str, Sequence[str]]) -> None:
        needed = {columns.get(name) for name in ("account_id", "date_range", "path")} - {None} | where.keys()
        opens = [row for row in lines.rows if needed <= row.keys()]
        opens = [row for row in opens if all(row[name] in values for name, values in where.items())] or lines.rows
        present = {name for name in columns.values() if sum(name in row for row in opens) > MOST * len(opens)}
        self._lines, self._where, self._opens = lines, where, opens
        self._fields = {column: name for name, column in columns.items() if column in present}
        self._names = [name for name in opens[0] if name in {"ts", *self._fields, *where}]

    def write(self, path: str | None) -> str:
        """Return the pattern; `path` reads the key from the path of a request where there is one."""
        text, last = "", ""
        for name in self._names:
            anchor, plus, distance = name.rpartition("+")
            if not plus:
                text += (".*?" if text else "") + self._write_part(name, path)
            else:
                if last.rpartition("+")[0] == anchor and last != anchor:
                    text, skipped = text + r'"?\S*\s+', int(distance) - int(last.rpartition("+")[2]) - 1
                else:
                    if anchor != last:
                        text += ".*?" + self._write_part(anchor, None)
                    text, skipped = text + self._write_end(anchor), int(distance) - 1
                text += self._skip(anchor, int(distance), skipped) + self._write_part(name, path)
            last = name
        return text

    def _write_part(self, name: str, path: str | None) -> str:
        """Return the pattern of one part, with its key; one that is not needed has no group."""
        field = self._fields.get(name)
        if name == "ts":
            return f"(?P<ts>{self._lines.time})"
        key = "" if "+" in name or name == _PATH else (r"\b" if name[:1].isalnum() else "") + re.escape(name) + "="
        if name in self._where:
            return key + f'"?(?:{"|".join(map(re.escape, self._where[name]))})'
        if field == "path" and path is not None:
            verb = r"(?P<method>[A-Z]{3,7}) " if self._has_verb(name) and "method" not in self._fields.values() else ""
            return rf'{key}"?{verb}[^\s"]*?' + path.replace(END, "") + r'(?:[/?&#][^\s"]*)?(?:[\s"]|$)'
        if field is None:
            return key + rf"(?:{_QUOTED}|\S*)"
        values = [row[name] for row in self._opens if name in row]
        is_spaced = any(" " in value for value in values)
        value = _VALUES.get(field) if field != "account_id" or all(map(kinds.is_account, values)) else None
        value = value or (r'[^"]+' if is_spaced else r'[^"\s,;]+')
        return rf'{key}"?(?P<{field}>{value})' + (r"\b" if field in _VALUES else "")

    def _skip(self, anchor: str, distance: int, count: int) -> str:
        """Return the pattern of the `count` parts before the one at `distance`."""
        names = [f"{anchor}+{distance - number}" for number in range(1, count + 1)]
        is_spaced = any(" " in row.get(name, "") for row in self._opens for name in names)
        return (_SKIPPED if is_spaced else r"\S+\s+") * count if count < _MANY else f"(?:{_SKIPPED}){{{count}}}"

    def _write_end(self, name: str) -> str:
        """Return the pattern of what stands between a part and the next one."""
        return r'[^"]*"\s*' if name == _PATH and self._has_version(name) else r'"?\s*'

    def _has_verb(self, name: str) -> bool:
        return all(re.match(r"[A-Z]{3,7} ", row[name]) for row in self._opens if name in row)

    def _has_version(self, name: str) -> bool:
        return all(" HTTP/" in row[name] for row in self._opens if name in row)
