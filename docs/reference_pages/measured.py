"""The page of measurements: the record of each benchmark's last kept run, with what it shows."""

import json
import tomllib
from pathlib import Path
from typing import Any

from reference_pages.markdown import NOTICE, Undocumented, table

WORDS = Path(__file__).with_name("records.toml")
RECORDS = Path(__file__).with_name("records")
INTRO = """# What was measured

The figures that the documentation claims, from runs on two cores of a virtual machine. Each compares with its peers:
repeat it on your machine, and compare the ratios. Results go to `.adwarm/bench`; `python -m dev.record NAME` keeps one
here. [Mutants](mutants.md) and [sizing](sizing.md) are pages of their own.

"""


def page() -> str:
    """Return the whole page.

    Raises:
        Undocumented: a record has no words, or words have no record.
    """
    words = tomllib.loads(WORDS.read_text(encoding="utf-8"))
    records = {path.stem: json.loads(path.read_text(encoding="utf-8")) for path in RECORDS.glob("*.json")}
    if words.keys() != records.keys():
        raise Undocumented(f"records without words, or words without a record: {sorted(words.keys() ^ records.keys())}")
    return NOTICE + INTRO + "\n".join(_section(words[name], records[name]) for name in words)


def _section(words: dict[str, Any], record: dict[str, Any]) -> str:
    """Return the heading of a record, what it shows, and its tables."""
    parts = [f"## {words['title']}", words["shows"].strip(), f"`{words['command']}`, {record['ran']}:"]
    titles = words.get("tables", {"rows": None})
    for key, title in titles.items():
        parts += [f"**{title}**"] if title else []
        rows = record[key]
        parts.append(table([name.strip() for name in rows[0]], [list(map(_text, row.values())) for row in rows]))
    return "\n\n".join(parts) + "\n"


def _text(value: Any) -> str:
    """Return a figure with three digits after the point at most, and none where nothing was compared."""
    if value is None:
        return "-"
    return f"{value:,.3f}".rstrip("0").rstrip(".") if isinstance(value, float) else str(value)
