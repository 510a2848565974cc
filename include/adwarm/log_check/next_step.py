"""Finds the settings to try next, and gives them as one command to copy."""

import json
import re
import shlex
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from itertools import islice
from urllib.parse import unquote

from adwarm.access_log.events import date_range_reader
from adwarm.access_log.log_reader import LogReader
from adwarm.access_log.quarantine import Quarantine
from adwarm.foundation.errors import BadRequest
from adwarm.foundation.redaction import redact
from adwarm.log_check.check import LogCheck
from adwarm.model import normalize_account_id
from adwarm.settings import AccessLogSettings, Settings

_PREFIX = "ADWARM_ACCESS_LOG__"
_ACCOUNT = re.compile(r"(?:act_)?\d+")
_GROUPS = {"account_id": r"(?P<account_id>(?:act_)?\d+)", "date_range": r"(?P<date_range>[A-Za-z0-9_.%-]+)"}
_OTHER = r"[^/?]+"
_PATHS_PROBED = 100


@dataclass(frozen=True, slots=True)
class NextStep:
    """Settings to try.

    Attributes:
        columns: the whole mapping, empty when none is proposed.
        path_pattern: a pattern that reads account and range from paths of the log; None when none is proposed.
        matched: paths of the sample that the pattern reads.
        paths: paths in the sample.
        command: checks the log again with these settings, for a POSIX shell.
    """

    columns: dict[str, str]
    path_pattern: str | None
    matched: int
    paths: int
    command: str


def find_next_step(check: LogCheck, settings: Settings) -> NextStep | None:
    """Return the settings to try next; None when nothing is proposed."""
    suggested: dict[str, str] = {}
    for item in check.files:
        suggested = {**item.columns.suggested, **suggested}
    columns = {**settings.access_log.columns, **suggested} if suggested else {}
    paths = _list_paths(check, settings, columns)
    pattern = propose_path_pattern(paths, settings.access_log)
    values = {"COLUMNS": json.dumps(columns, ensure_ascii=False)} if columns else {}
    if pattern:
        values["PATH_PATTERN"] = pattern
    if not values:
        return None
    words = [f"{_PREFIX}{name}={shlex.quote(value)}" for name, value in values.items()]
    file = [] if check.url == settings.access_log.url else [shlex.quote(redact(check.url))]
    matched = sum(re.search(pattern, path) is not None for path in paths) if pattern else 0
    return NextStep(columns, pattern, matched, len(paths), " ".join([*words, "adwarm log check", *file]))


def _list_paths(check: LogCheck, settings: Settings, columns: dict[str, str]) -> Sequence[str]:
    """Return paths that the pattern does not match: those of the check, or of a first look with `columns` mapped."""
    if check.events:
        return []
    if "path" not in columns or "path" in settings.access_log.columns:
        return check.quarantine.unmatched_paths
    mapped = settings.access_log.model_copy(update={"columns": columns})
    quarantine = Quarantine(paths_kept=_PATHS_PROBED)
    reader = LogReader(settings.model_copy(update={"access_log": mapped}), quarantine)
    file = next(item.file for item in check.files if "path" in item.columns.suggested)
    for _ in islice(reader.read_file(file), 1):
        continue
    return quarantine.unmatched_paths


def propose_path_pattern(paths: Sequence[str], settings: AccessLogSettings) -> str | None:
    """Return a pattern for the most frequent form of paths that hold one account and one date range as their parts.

    It is tried on the paths: what it finds in any of them must be a valid account and, in most, a known date range.
    None when no form is clear.

    Args:
        paths: without the values of their queries.
        settings: give the words for date ranges, and which of the two is constant.
    """
    fields = [name for name in _GROUPS if name not in settings.constants]
    forms: dict[tuple[int, ...], list[list[str]]] = {}
    for path in paths:
        parts = path.partition("?")[0].split("/")
        places = _find_places(parts, fields, settings)
        if places:
            forms.setdefault((len(parts), *places), []).append(parts)
    if not forms or "account_id" not in fields:
        return None
    form, found = max(forms.items(), key=lambda item: len(item[1]))
    pattern = _write_pattern(dict(zip(form[1:], fields, strict=True)), found)
    return pattern if _reads_paths(pattern, paths, settings) else None


def _find_places(parts: Sequence[str], fields: Sequence[str], settings: AccessLogSettings) -> list[int]:
    """Return the place of each field among the parts of a path; none when one is missing or could be at two places."""
    places = [
        [
            at
            for at, part in enumerate(parts)
            if (_is_account(part) if name == "account_id" else _is_range(part, settings))
        ]
        for name in fields
    ]
    flat = [found[0] for found in places if len(found) == 1]
    return flat if len(flat) == len(fields) == len(set(flat)) else []


def _is_account(text: str) -> bool:
    return _ACCOUNT.fullmatch(text) is not None


def _is_range(text: str, settings: AccessLogSettings) -> bool:
    try:
        return bool(date_range_reader(settings.date_ranges)(unquote(text)))
    except BadRequest:
        return False


def _write_pattern(fields: dict[int, str], found: Sequence[list[str]]) -> str:
    """Return the pattern of paths with the fields at these places, up to the last of them."""
    written: list[str] = []
    for at in range(max(fields) + 1):
        words = Counter(parts[at] for parts in found)
        literal = re.escape(next(iter(words))) if len(words) == 1 else _OTHER
        written.append(_GROUPS[fields[at]] if at in fields else literal)
    end = r"(?=[/?#]|$)" if fields[max(fields)] == "account_id" else ""
    return "/".join(written) + end


def _reads_paths(pattern: str, paths: Sequence[str], settings: AccessLogSettings) -> bool:
    """Whether the pattern finds an account in each path that it matches, and a known range in most of them."""
    read = [match.groupdict() for path in paths if (match := re.search(pattern, path))]
    try:
        for values in read:
            normalize_account_id(values["account_id"])
    except BadRequest:
        return False
    known = [values for values in read if "date_range" not in values or _is_range(values["date_range"], settings)]
    return len(known) > len(read) / 2
