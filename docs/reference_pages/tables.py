"""The tables page: every table and column with its type and meaning, and what bounds each table that grows."""

import tomllib
from pathlib import Path
from typing import Any

from sqlalchemy import Table

from adwarm.store.tables import metadata
from reference_pages.markdown import NOTICE, Undocumented, described, table

TEXTS = Path(__file__).with_name("tables.toml")
INTRO = """# Tables

adwarm keeps its state in its own database, never in Airflow's metadata database. `adwarm db upgrade` creates and
upgrades it. Columns in **bold** are the primary key. Timestamps are UTC; number columns that hold a time count seconds
since 1970.

"""
KINDS = {
    "string": "text", "biginteger": "integer", "largebinary": "bytes", "float": "number", "moment": "timestamp",
    "utcdatetime": "timestamp", "enumtext": "text",
}  # fmt: skip


def page() -> str:
    """Return the tables page.

    Raises:
        Undocumented: a table or column has no text in tables.toml, or a text names something that does not exist.
    """
    texts = tomllib.loads(TEXTS.read_text(encoding="utf-8"))
    if unknown := sorted(set(texts) - set(metadata.tables)):
        raise Undocumented(f"tables.toml describes tables that do not exist: {', '.join(unknown)}")
    described("tables", {name: texts.get(name, {}).get("table", "") for name in metadata.tables})
    order = sorted(metadata.tables)
    growth = [(f"[`{name}`](#{name})", texts[name]["grows"], texts[name]["bound"]) for name in order]
    overview = "## What grows\n\n" + table(("table", "grows with", "bounded by"), growth)
    return NOTICE + INTRO + overview + "\n\n" + "\n\n".join(_table(metadata.tables[n], texts[n]) for n in order) + "\n"


def _table(item: Table, texts: dict[str, str]) -> str:
    names = [column.name for column in item.columns]
    if unknown := sorted(set(texts) - set(names) - {"table", "grows", "bound"}):
        raise Undocumented(f"tables.toml describes columns that {item.name} does not have: {', '.join(unknown)}")
    meaning = described(f"columns of {item.name}", {name: texts.get(name, "") for name in names})
    rows = [
        (
            f"**{column.name}**" if column.primary_key else column.name,
            _kind(column.type),
            "yes" if column.nullable else "",
            meaning[column.name],
        )
        for column in item.columns
    ]
    return f"## {item.name}\n\n{texts['table']}\n\n" + table(("column", "type", "nullable", "meaning"), rows)


def _kind(kind: Any) -> str:
    length = getattr(kind, "length", None)
    named = type(kind).__name__.lower()
    word = KINDS.get(named, named)
    return f"{word}, up to {length}" if length else word
