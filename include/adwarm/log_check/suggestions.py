"""Turns what a check found into sentences that name the setting to change, the most important first."""

from collections import Counter
from collections.abc import Iterator
from datetime import datetime, timedelta

import numpy as np

from adwarm.access_log.column_mapping import REQUEST_FIELDS
from adwarm.access_log.formats import describe_path_pattern
from adwarm.access_log.json_documents import MAX_DOCUMENT_BYTES
from adwarm.access_log.lines import MAX_LINE_BYTES
from adwarm.access_log.nested_values import find_source
from adwarm.access_log.quarantine import FILE_REASONS
from adwarm.access_log.sample_rows import read_sample
from adwarm.access_log.timestamps import INVALID, TimestampRules, find_local, from_micros, parse_values, to_utc
from adwarm.foundation.redaction import redact
from adwarm.log_check.check import LogCheck
from adwarm.log_check.learnable import count_days
from adwarm.log_check.next_step import NextStep
from adwarm.settings import Settings

_EXAMPLE = "Europe/Berlin"
_SETTING = "ADWARM_ACCESS_LOG__TIMESTAMP_ZONE"
_PREFIX = "ADWARM_ACCESS_LOG__"
_REASONS = {
    "json": f"a JSON log holds one object a line, or is one document of {MAX_DOCUMENT_BYTES // 10**6} MB at most",
    "csv": "a quote is not closed, or text follows it; quote fields as RFC 4180 says",
    "columns": "these lines have another number of fields than the header; quote fields that hold the delimiter",
    "format": f"these lines are not of the common or combined log format; describe them in {_PREFIX}PATTERN",
    "too_long": f"a line has {MAX_LINE_BYTES:,} bytes at most; write the log without its long fields",
    "truncated": "the gzip file ends early; copy it again",
    "future": "these times are more than a year after the file was written; check the unit and the clock",
    "ts": f"no time is read there; map `ts` in {_PREFIX}COLUMNS, or describe it in {_PREFIX}TIMESTAMP_FORMAT",
    "account_id": f"an account id is up to 64 letters, digits and ._:-; map `account_id` in {_PREFIX}COLUMNS",
    "date_range": f"map `date_range` in {_PREFIX}COLUMNS, or the words in {_PREFIX}DATE_RANGES",
    "report": "name each report in ADWARM_REPORTS, or map `report` to another column",
    "unreadable": "the list of problems says why",
    "symlink": "links that lead out of the folder are not followed; name the target itself",
}
_IDS_SHOWN = 10
_MANY_REPEATS = 0.01
_OLD = timedelta(days=7)


def ask_about_clock(check: LogCheck, settings: Settings) -> str | None:
    """Return the question; None where the times name their zone or the settings do."""
    item = next((item for item in check.files if item.accepted and "ts" in item.columns.by_field), None)
    if item is None or item.file.format == "combined" or settings.access_log.timestamp_zone is not None:
        return None
    rows = read_sample(item.file)
    names = dict.fromkeys(name for row in rows for name in row)
    source = find_source(item.columns.by_field["ts"], names)
    if source is None:
        return None
    values = source.read([[row.get(column) for row in rows] for column, _ in source.parts])
    micros = parse_values(values, TimestampRules("UTC", settings.access_log.timestamp_format))
    micros = micros[find_local(values) & (micros != INVALID)]
    if len(micros) * 2 < len(values) or not len(micros):
        return None
    ((written, _),) = Counter(from_micros(moment).hour for moment in micros.tolist()).most_common(1)
    zones = [name for name, _ in check.zones.most_common() if name]
    zone = zones[0] if zones else settings.default_zone if settings.default_zone != "UTC" else _EXAMPLE
    day = micros[:1] // (24 * 3_600_000_000) * (24 * 3_600_000_000) + written * 3_600_000_000
    shift = int(np.round((day - to_utc(day, TimestampRules(zone)))[0] / 3_600_000_000))
    if "time_zone" in item.columns.by_field and zones:
        return (
            f"the times name no zone, and each is read in the zone of its row: most opens are at {written:02d}:00 "
            f"there; if they are UTC, set {_SETTING}=UTC, and most are at {(written + shift) % 24:02d}:00 in {zone}"
        )
    return (
        f"the times name no zone and are read as UTC: most opens are at {written:02d}:00 UTC; if that is what the "
        f"clocks of your readers show, set {_SETTING} to their zone, such as {zone}, and most are at "
        f"{(written - shift) % 24:02d}:00 UTC"
    )


def suggest(check: LogCheck, settings: Settings, now: datetime, step: NextStep | None = None) -> list[str]:
    """Return what to change; empty when nothing stands out.

    Args:
        now: tells an old log from a current one, UTC.
    """
    return [
        *_about_columns(check, settings, step),
        *filter(None, [ask_about_clock(check, settings)]),
        *_about_paths(check, settings),
        *_about_rejects(check, step),
        *_about_values(check),
        *_about_people(check),
        *_about_repeats(check),
        *_about_length(check, settings, now),
    ]


def _about_columns(check: LogCheck, settings: Settings, step: NextStep | None) -> Iterator[str]:
    """Name columns that may be meant, and say so where the log has no zone."""
    own = settings.access_log.columns
    columns = {} if step is None else step.values.get("columns", {})
    suggested = {name: column for name, column in columns.items() if own.get(name) != column}
    if suggested:
        names = ", ".join(f"{column!r} for {name}" for name, column in suggested.items())
        yield f"columns that may be meant: {names}; the command below tries them"
    if step is not None:
        yield from step.notes
        if step.missing:
            yield step.missing
    if check.events and set(check.zones) == {""} and "time_zone" not in suggested:
        yield (
            "the log names no reader zone, so patterns are learned in each account's own zone; "
            f"map `time_zone` in {_PREFIX}COLUMNS or fix it in {_PREFIX}CONSTANTS"
        )


def _about_paths(check: LogCheck, settings: Settings) -> Iterator[str]:
    ids = check.quarantine.unmatched_paths
    if settings.access_log.accounts and ids:
        yield f"left out, since {_PREFIX}ACCOUNTS lacks them or no pattern matches: {', '.join(ids[:_IDS_SHOWN])}"
        return
    requests = [item for item in check.files if item.ignored or set(item.columns.by_field) & set(REQUEST_FIELDS)]
    if requests and not any(item.accepted for item in requests):
        quarantine = check.quarantine
        text = describe_path_pattern(quarantine.ignored, quarantine.unmatched_paths, settings.access_log.pattern)
        if text:
            yield text


def _about_rejects(check: LogCheck, step: NextStep | None) -> Iterator[str]:
    from_path = set(_REASONS) - FILE_REASONS | {"unreadable"} if step is not None and step.command else set()
    for reason, count in check.quarantine.by_reason.most_common():
        if reason in from_path:
            continue  # the proposed settings read them
        what = "file" if reason in FILE_REASONS else "line"
        lines = f"{count:,} {what}" + ("s" if count != 1 else "")
        yield f"{lines} rejected as {reason}: {_REASONS.get(reason, 'see the sample')}"


def _about_values(check: LogCheck) -> Iterator[str]:
    """Quote the words that were not understood."""
    values = {name: ", ".join(redact(value)[:60] for value in words) for name, words in check.rejected_values.items()}
    if "date_range" in values:
        yield f"date ranges not understood: {values['date_range']}; give each a preset in {_PREFIX}DATE_RANGES"
    if "report" in values:
        yield f"reports that are not configured: {values['report']}; set ADWARM_REPORTS__NAME__LEVEL for each"
    if "account_id" in values:
        rounded = any("e+" in value.lower() for value in check.rejected_values["account_id"])
        hint = (
            "a spreadsheet has rounded them; export the column as text" if rounded else "write letters, digits and ._:-"
        )
        yield f"account ids not understood: {values['account_id']}; {hint}"
    if "time_zone" in values:
        yield f"time zones not understood, treated as absent: {values['time_zone']}; write names such as Europe/Berlin"
    if "actor" in values:
        yield f"actors not understood, treated as human: {values['actor']}; write human, embedded, api or warmer"


def _about_people(check: LogCheck) -> Iterator[str]:
    if check.events and not check.is_usable:
        yield (
            f"all {check.events:,} opens are by programs, and a forecast learns from people only; "
            f"check the column `actor` and the user agents"
        )


def _about_repeats(check: LogCheck) -> Iterator[str]:
    if check.repeats.exact > _MANY_REPEATS * max(check.events, 1):
        yield "many lines are repeated: perhaps two files, or two servers, record the same open"


def _about_length(check: LogCheck, settings: Settings, now: datetime) -> Iterator[str]:
    if check.learnable is None or not check.is_usable or check.last is None:
        return
    for item in check.learnable.requirements:
        if item.missing_days:
            more = count_days(item.missing_days, item.unit, "more ")
            yield f"{item.use} needs {more}: it has {item.has_days}, and needs {item.needs_days}"
    age = now - check.last
    if age > timedelta(days=settings.forecast.history_days):
        yield (
            f"the last event is {age.days} days old, and training looks back {settings.forecast.history_days}; "
            "raise ADWARM_FORECAST__HISTORY_DAYS, or give a newer log"
        )
    elif age > _OLD:
        yield f"the last event is {age.days} days old; is the log still written?"
