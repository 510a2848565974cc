"""The result of a check as JSON values."""

from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from typing import Any

from adwarm.access_log.file_columns import plain_columns
from adwarm.access_log.quarantine import FILE_REASONS
from adwarm.foundation.redaction import redact
from adwarm.log_check.check import FileCheck, LogCheck
from adwarm.log_check.next_step import NextStep

_MAX_FILES, _MAX_AGENTS, _MAX_ZONES, _MAX_NAMES = 100, 10, 40, 60
_MAX_PATHS, _AGENT_LENGTH = 5, 120


def to_document(check: LogCheck, advice: Sequence[str], step: NextStep | None = None) -> dict[str, Any]:
    """Return everything that was found; lists are bounded, and credentials in samples are hidden.

    Args:
        advice: what to change, see `suggest`.
    """
    learnable = check.learnable
    problems = {sample.file: sample.excerpt for sample in check.quarantine.samples if sample.reason in FILE_REASONS}
    requirements = () if learnable is None else learnable.requirements
    return {
        "url": redact(check.url),
        "usable": check.is_usable,
        "files": [_file(item, problems) for item in check.files[:_MAX_FILES]],
        "files_in_all": len(check.files),
        "layouts": _layouts(check.files, {} if step is None else step.values.get("columns", {})),
        "skipped": {"files": check.skipped.count, "samples": [list(sample) for sample in check.skipped.samples]},
        "accepted": check.events,
        "rejected": dict(check.quarantine.by_reason.most_common()),
        "ignored_requests": check.quarantine.ignored,
        "samples": [asdict(sample) for sample in check.quarantine.samples],
        "unmatched_paths": check.quarantine.unmatched_paths[:_MAX_PATHS],
        "not_understood": {name: [redact(value) for value in values] for name, values in check.rejected_values.items()},
        "time_zones": _most_common(check.zones, _MAX_ZONES),
        "span": {
            "first": check.first,
            "last": check.last,
            "days": (check.last - check.first).days + 1 if check.first and check.last else 0,
        },
        "actors": dict(check.actors.most_common()),
        "machine_agents": {
            redact(name)[:_AGENT_LENGTH]: n for name, n in check.machine_agents.most_common(_MAX_AGENTS)
        },
        "repeats": {"exact": check.repeats.exact, "is_estimate": check.repeats.is_estimate},
        "reloads": check.reloads,
        "learnable": None
        if learnable is None
        else {
            **asdict(learnable),
            "requirements": [{**asdict(item), "missing_days": item.missing_days} for item in requirements],
        },
        "advice": list(advice),
        "next_command": step.command or None if step is not None else None,
        "before": [] if step is None else list(step.before),
        "after": [] if step is None else list(step.after),
    }


def describe_format(item: FileCheck) -> str:
    """Return the format of a file, such as `csv, delimited by ;, gzip`."""
    parts: list[str] = ["lines" if item.columns.how.get("ts") == "pattern" else item.file.format]
    if item.columns.delimiter not in {"", ","}:
        parts.append(f"delimited by {'tabs' if item.columns.delimiter == chr(9) else item.columns.delimiter}")
    if item.file.is_gzipped:
        parts.append("gzip")
    return ", ".join(parts)


def _file(item: FileCheck, problems: Mapping[str, str]) -> dict[str, Any]:
    has_lines = item.accepted or item.rejected or item.ignored
    return {
        "path": redact(item.file.path),
        "format": describe_format(item),
        "bytes": item.file.size,
        "accepted": item.accepted,
        "rejected": item.rejected,
        "ignored_requests": item.ignored,
        "problem": problems.get(item.file.path) or (None if has_lines else "it holds no event"),
    }


def _layouts(files: Sequence[FileCheck], suggested: Mapping[str, str]) -> list[dict[str, Any]]:
    """Return the distinct ways in which the columns of the files are used."""
    layouts: dict[tuple[Any, ...], dict[str, Any]] = {}
    for item in files:
        columns = item.columns
        if not columns.how:
            continue
        key = (describe_format(item), tuple(columns.by_field.items()), tuple(columns.names))
        if key not in layouts and len(layouts) < _MAX_FILES:
            used = {*columns.by_field.values(), *suggested.values()}
            unused = [name for name in plain_columns(columns.names) if name not in used]
            layouts[key] = {
                "format": describe_format(item),
                "example": redact(item.file.path),
                "files": 0,
                "fields": {
                    name: {
                        "column": columns.by_field.get(name),
                        "by": columns.how.get(name, "not found"),
                        "suggested": suggested.get(name) if suggested.get(name) != columns.by_field.get(name) else None,
                    }
                    for name in dict.fromkeys([*columns.how, *suggested])
                },
                "unused_columns": unused[:_MAX_NAMES],
            }
        if key in layouts:
            layouts[key]["files"] += 1
    return list(layouts.values())


def _most_common(counts: Counter[str], limit: int) -> dict[str, int]:
    return dict(counts.most_common(limit))
