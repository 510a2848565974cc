"""The tables page: every table and column with its type and meaning, and what bounds each table that grows."""

import re
import tomllib
from inspect import cleandoc
from pathlib import Path
from typing import Any

from sqlalchemy import Column, Table
from sqlalchemy.engine import default

from adwarm.store.columns import EnumText
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
        Undocumented: a table or column has no text, or one of tables.toml is about something that does not exist.
    """
    others = tomllib.loads(TEXTS.read_text(encoding="utf-8"))
    if unknown := sorted(set(others) - set(metadata.tables)):
        raise Undocumented(f"tables.toml describes tables that do not exist: {', '.join(unknown)}")
    order = sorted(metadata.tables)
    texts = {name: _texts(metadata.tables[name]) | others.get(name, {}) for name in order}
    described("tables", {name: texts[name].get("table", "") for name in order})
    growth = [(f"[`{name}`](#{name})", texts[name]["grows"], texts[name]["bound"]) for name in order]
    overview = "## What grows\n\n" + table(("table", "grows with", "bounded by"), growth)
    return NOTICE + INTRO + overview + "\n\n" + "\n\n".join(_table(metadata.tables[n], texts[n]) for n in order) + "\n"


def _texts(item: Table) -> dict[str, str]:
    """Return what the class of a table says about it and its columns."""
    text = cleandoc(item.info.get("text") or "").split("\n\n")[0]
    facts = {"table": " ".join(text.split()), **{name: item.info.get(name, "") for name in ("grows", "bound")}}
    return facts | {column.name: _meaning(column) for column in item.columns if column.doc}


def _meaning(column: Column[Any]) -> str:
    """Return what a column means, with the values that it may have."""
    text = re.sub(r"\bNone\b", "NULL", column.doc or "")
    members = list(column.type.kind) if isinstance(column.type, EnumText) else []
    values = ", ".join(f"`{column.type.process_bind_param(member, default.DefaultDialect())}`" for member in members)
    return f"{text} One of {values}." if members else text


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
