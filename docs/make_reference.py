"""Writes settings.md, tables.md and sources.md in docs/reference from the code, so that they cannot drift from it.

python docs/make_reference.py           writes both pages
python docs/make_reference.py --check   writes nothing; exits 1 when a page is not what the code says
"""

import json
import sys
import types
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel, SecretStr
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined
from sqlalchemy import Table

ROOT = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(ROOT / "include"))

from adwarm.settings import Settings, SourceSettings  # noqa: E402
from adwarm.sources.meta.credentials import MetaCredentials  # noqa: E402
from adwarm.sources.meta.source import MetaSource  # noqa: E402
from adwarm.sources.parquet import ParquetSource  # noqa: E402
from adwarm.sources.protocol import Capabilities  # noqa: E402
from adwarm.sources.sql import SqlSource  # noqa: E402
from adwarm.store.tables import UtcDateTime, metadata  # noqa: E402

FOLDER = ROOT / "docs" / "reference"
NOTICE = "<!-- Written by docs/make_reference.py from the code. Change the code, then run the script. -->\n\n"

SETTINGS_INTRO = """# Settings

Every setting is an environment variable. Two underscores lead into a section: `ADWARM_PLANNING__MIN_CONFIDENCE=0.3`.
The same names, in lower case and without the prefix, may stand in a TOML file named by `ADWARM_CONFIG`; a variable
wins over the file. Lists and tables are written as JSON in a variable. A value that is not allowed stops the process
with a message that names the variable.

```toml
# ADWARM_CONFIG=/etc/adwarm.toml
default_zone = "Europe/Berlin"

[planning]
min_confidence = 0.3

[reports.campaigns]          # a second report: opened as `report=campaigns`
level = "campaign"
```

"""

TABLES_INTRO = """# Tables

adwarm keeps its state in a database of its own, never in Airflow's metadata database. `adwarm db upgrade` creates and
upgrades it. Columns in **bold** are the primary key. Moments are UTC; columns of seconds count from 1970.

"""

SOURCES_INTRO = """# Sources

Where insights come from, and what each source can do. `ADWARM_SOURCE__KIND` or an Airflow connection says which one is
used: [your own ad account](../how-to/own-ad-account.md), [a table or files](../how-to/other-sources.md).

"""

PURPOSES = {
    "access_aggregate": "One row per UTC hour of the access log: where its aggregate is kept.",
    "account": "Ad accounts with their time zones, currency and standing.",
    "breaker": "One circuit breaker per source, and one per account of it that fails.",
    "isolation": "Which fallbacks are left out for failing too often.",
    "capacity_grant": "Permissions to call the platform, each with its expiry.",
    "capacity_scope": "What a quota belongs to: tokens left, concurrency limit, and until when it is parked.",
    "entry": "Materialised answers: one row per account, absolute window and query.",
    "error_event": "Errors met, for thresholds and alerts.",
    "fatigue_score": "One score per ad and as-of day.",
    "forecast_snapshot": "Forecasts that were learnt, with what they were learnt from.",
    "healing_action": "When each healing action last ran, for its cool-down.",
    "lease": "Who works on what until when; the token fences late writers.",
    "log_file": "How far each file of the access log has been read.",
    "partition": "One row per account, day and query: where its rows are kept and whether they are final.",
    "payload": "The compressed bytes of entries, by content hash.",
    "policy": "Which forecast is live, and who chose its kind, when and why.",
    "policy_review": "What each review of the policies found, proposed, and came to.",
    "request": "Queued requests for a report.",
    "strategy": "Named warming strategies: which accounts and ranges, in which batches.",
    "traffic_hour": "Hits, misses and calls per hour, account and kind of reader.",
    "warm": "Every planned warm: when, why, what it cost and whether it was used.",
    "warming_job": "Progress of each warming run.",
    "watermark": "Up to when a step has done its work.",
}


CONNECTIONS = """## Connections

Further tokens, each with its own accounts: `ADWARM_CONNECTIONS__NAME__ACCESS_TOKEN` and whatever else differs. `NAME`
is the connection's name. Each variable of [Source](#source) is allowed; one that is not set is as there."""


def settings_page() -> str:
    """Return the settings page."""
    sections: list[str] = ["## General\n\n" + _rows(Settings, "ADWARM_")]
    for name, field in Settings.model_fields.items():
        model = _section(field)
        if model is not None:
            title = f"## {name.replace('_', ' ').capitalize()}\n\n{_first_line(model)}\n\n"
            sections.append(title + _rows(model, f"ADWARM_{name.upper()}__"))
    report = get_args(Settings.model_fields["reports"].annotation)[1]
    intro = f"## Reports\n\n{_first_line(report)} `NAME` is the report's name.\n\n"
    sections.append(intro + _rows(report, "ADWARM_REPORTS__NAME__"))
    sections.append(CONNECTIONS)
    return NOTICE + SETTINGS_INTRO + "\n\n".join(sections) + "\n"


def tables_page() -> str:
    """Return the tables page."""
    return NOTICE + TABLES_INTRO + "\n\n".join(_table(metadata.tables[name]) for name in sorted(metadata.tables)) + "\n"


def sources_page() -> str:
    """Return the page on what each source supports."""
    meta = MetaSource(MetaCredentials(SecretStr("none")), SourceSettings())
    known = {"meta": meta.capabilities, "parquet": ParquetSource.capabilities, "sql": SqlSource.capabilities}
    rows = [_source_row(name, [told(caps) for caps in known.values()]) for name, told in _CAPABILITIES.items()]
    head = _source_row("", [f"`{name}`" for name in known]) + "\n|---" + "|---" * len(known) + "|\n"
    return NOTICE + SOURCES_INTRO + head + "\n".join(rows) + "\n"


_CAPABILITIES: dict[str, Callable[[Capabilities], str]] = {
    "levels of rows": lambda caps: ", ".join(sorted(caps.levels)),
    "people reached and frequency of a range": lambda caps: ", ".join(sorted(caps.unique_metrics)) or "no",
    "days and summaries in one request": lambda caps: "yes" if caps.unique_metrics else "no",
    "days of one request, at most": lambda caps: str(caps.max_days_per_request),
    "summaries of one request, at most": lambda caps: str(caps.max_windows_per_request),
    "rows of a page": lambda caps: str(caps.max_page_rows),
    "reports made in the background": lambda caps: (
        f"yes, looked at {caps.poll_batch} at a time" if caps.has_async_reports else "no"
    ),
    "too much data is divided by": lambda caps: (
        "days, campaigns, ad sets, ads, fields" if caps.can_list_objects else "days"
    ),
    "limits belong to": lambda caps: ", ".join(caps.quota_scopes) or "nothing",
    "figures settle within": lambda caps: f"{caps.lookback_days} days",
    "history": lambda caps: "whatever there is" if caps.retention_days is None else f"{caps.retention_days:,} days",
}


def _source_row(name: str, cells: list[str]) -> str:
    return f"| {name} | " + " | ".join(cells) + " |"


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]


def _section(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _rows(model: type[BaseModel], prefix: str) -> str:
    head = "| variable | default | allowed | meaning |\n|---|---|---|---|\n"
    plain = ((name, field) for name, field in model.model_fields.items() if _is_plain(field))
    return head + "\n".join(
        f"| `{prefix}{name.upper()}` | {_default(field)} | {_allowed(field)} | {_cell(field.description or '')} |"
        for name, field in plain
    )


def _is_plain(field: FieldInfo) -> bool:
    return _section(field) is None and (
        get_origin(field.annotation) is not dict or get_args(field.annotation)[1] is str
    )


def _cell(text: str) -> str:
    return text.replace("|", r"\|")


def _default(field: FieldInfo) -> str:
    value = field.default
    if value is None or value is PydanticUndefined:
        return ""
    text = json.dumps(value) if isinstance(value, tuple | list | bool | dict) else str(value)
    return f"`{_cell(text)}`"


def _allowed(field: FieldInfo) -> str:
    choices = [choice for kind in _kinds(field.annotation) for choice in get_args(kind) if get_origin(kind) is Literal]
    if choices:
        return ", ".join(f"`{choice}`" for choice in choices)
    signs = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))
    bounds = [f"{sign} {getattr(rule, name)}" for rule in field.metadata for name, sign in signs if hasattr(rule, name)]
    return " and ".join(bounds) or ", ".join(_kind_name(kind) for kind in _kinds(field.annotation))


def _kinds(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) in {Union, types.UnionType}:
        yield from (kind for kind in get_args(annotation) if kind is not type(None))
    else:
        yield annotation


def _kind_name(kind: Any) -> str:
    names = {"str": "text", "SecretStr": "secret", "Path": "path", "int": "whole number", "float": "number"}
    if get_origin(kind) is tuple:
        return "list of " + ("numbers" if float in get_args(kind) else "texts")
    return "texts by name" if get_origin(kind) is dict else names.get(getattr(kind, "__name__", ""), "text")


def _table(table: Table) -> str:
    head = f"## {table.name}\n\n{PURPOSES[table.name]}\n\n| column | type | may be empty |\n|---|---|---|\n"
    return head + "\n".join(
        f"| {f'**{column.name}**' if column.primary_key else column.name} | {_column_kind(column.type)} "
        f"| {'yes' if column.nullable else ''} |"
        for column in table.columns
    )


def _column_kind(kind: Any) -> str:
    if isinstance(kind, UtcDateTime):
        return "moment"
    length = getattr(kind, "length", None)
    named = type(kind).__name__.lower()
    word = {"string": "text", "biginteger": "whole number", "integer": "whole number", "largebinary": "bytes"}.get(
        named, named
    )
    return f"{word}, up to {length}" if length else word


def pages() -> dict[Path, str]:
    """Return each generated page by its path."""
    texts = {"settings": settings_page(), "tables": tables_page(), "sources": sources_page()}
    return {FOLDER / f"{name}.md": text for name, text in texts.items()}


def main(arguments: list[str]) -> int:
    """Write the pages, or with `--check` only compare them; return the exit code."""
    stale = [path for path, text in pages().items() if not path.is_file() or path.read_text("utf-8") != text]
    if "--check" in arguments:
        for path in stale:
            sys.stderr.write(f"{path.relative_to(ROOT)} is not up to date; run python docs/make_reference.py\n")
        return 1 if stale else 0
    for path in stale:
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(pages()[path], encoding="utf-8")
        sys.stdout.write(f"wrote {path.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
