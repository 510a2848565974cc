"""Finds the settings to try next, tries them on the first rows, and gives them as one command to copy."""

import json
import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from itertools import islice
from typing import Any

from adwarm.access_log.log_files import LogFile
from adwarm.access_log.log_reader import LogReader
from adwarm.access_log.quarantine import Quarantine
from adwarm.access_log.sample_rows import read_sample, read_texts
from adwarm.foundation.errors import BadRequest
from adwarm.foundation.redaction import redact
from adwarm.log_check.check import FileCheck, LogCheck
from adwarm.log_check.line_patterns import are_pairs, propose_lines
from adwarm.log_check.proposal import Proposal, propose, propose_more
from adwarm.settings import Settings

_PREFIX = "ADWARM_ACCESS_LOG__"
_SHOWN, _LENGTH = 3, 160
_WELL_READ = 0.5
"""A log of which this share is read needs no other columns."""
_WHOLE = 0.95
"""A text of which fewer lines are rows of a table is no table: words between blanks vary in number."""


@dataclass(frozen=True, slots=True)
class NextStep:
    """Settings to try.

    Attributes:
        values: by name, as `AccessLogSettings` has them; empty when none is proposed.
        missing: what no column holds, in one sentence.
        command: checks the log again with these settings, for a POSIX shell; empty when none is proposed.
        before: some rows as they are.
        after: what is read of the first rows with these settings.
    """

    values: Mapping[str, Any] = field(default_factory=dict)
    notes: Sequence[str] = ()
    missing: str = ""
    command: str = ""
    before: Sequence[str] = ()
    after: Sequence[str] = ()


def find_next_step(check: LogCheck, settings: Settings) -> NextStep | None:
    """Return the settings to try next; None when the log is read as it is, or holds nothing to look at."""
    unread = [item for item in check.files if not _is_well_read(item) and not item.file.problem]
    samples = ((item, read_sample(item.file), read_texts(item.file)) for item in [*unread, *check.files[:1]])
    item, rows, texts = next(((item, rows, texts) for item, rows, texts in samples if rows or texts), (None, [], []))
    if item is None:
        return None
    before = [redact(json.dumps(row, default=str, ensure_ascii=False))[:_LENGTH] for row in rows[:_SHOWN]]
    if item not in unread:
        by_field = {} if item.file.format == "combined" else item.columns.by_field
        proposal = propose_more(rows, settings.access_log, by_field, check.rejected_values.get("date_range", []))
        return _test(check, settings, item.file, proposal, before) if proposal.values else None
    is_table = item.columns.delimiter != " " or len(rows) >= _WHOLE * len(texts)
    is_lines_first = are_pairs(texts) or not is_table
    steps = []
    for is_line in (is_lines_first, not is_lines_first):
        shown = [redact(text)[:_LENGTH] for text in texts[:_SHOWN]] if is_line else before
        candidate = propose_lines(texts, settings.access_log) if is_line else None
        if not is_line and rows:
            candidate = propose(rows, settings.access_log, is_web_log=item.file.format == "combined")
        step = NextStep() if candidate is None else _test(check, settings, item.file, candidate, shown)
        if step.command:
            return step
        steps.append(step)
    return max(steps, key=lambda step: bool(step.missing))


def _test(check: LogCheck, settings: Settings, file: LogFile, proposal: Proposal, before: Sequence[str]) -> NextStep:
    """Return the step with these settings, and what they read of the first rows."""
    if proposal.missing:
        return NextStep(notes=proposal.notes, missing=proposal.missing, before=before)
    after, why = _try(file, proposal, settings) if proposal.values else ([], "")
    if not after:
        why = why or "the columns are those of a log, but their values are not"
        return NextStep(missing=f"no setting that was tried reads the first rows: {why}", before=before)
    command = _write_command(check, settings, proposal)
    return NextStep(values=proposal.values, notes=proposal.notes, command=command, before=before, after=after)


def _is_well_read(item: FileCheck) -> bool:
    return item.accepted > 0 and item.accepted >= _WELL_READ * (item.accepted + item.rejected)


def _try(file: LogFile, proposal: Proposal, settings: Settings) -> tuple[list[str], str]:
    """Return what is read of the first rows, or why nothing is."""
    quarantine = Quarantine()
    log = proposal.apply(settings.access_log)
    try:
        reader = LogReader(settings.model_copy(update={"access_log": log}), quarantine)
    except BadRequest as error:
        return [], str(error)  # a value of the log made a setting that is not valid
    for batch in islice(reader.read_file(file), 1):
        names = ("ts", "account_id", "date_range")
        rows = batch.batch.select(names).slice(0, _SHOWN).to_pylist()
        texts = [f"{row['ts']:%Y-%m-%d %H:%M:%S} UTC, {row['account_id']}, {row['date_range']}" for row in rows]
        if texts:
            return texts, ""
    sample = next((f"{sample.reason}: {sample.excerpt}" for sample in quarantine.samples), "")
    return [], sample


def _write_command(check: LogCheck, settings: Settings, proposal: Proposal) -> str:
    words = [
        f"{_PREFIX}{name.upper()}="
        + shlex.quote(value if isinstance(value, str) else json.dumps(value, ensure_ascii=False))
        for name, value in proposal.values.items()
    ]
    file = [] if check.url == settings.access_log.url else [shlex.quote(redact(check.url))]
    return " ".join([*words, "adwarm log check", *file])
