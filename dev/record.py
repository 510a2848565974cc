"""Keeps a result for the page of measurements: `make bench NAME=storm`, then `python -m dev.record storm`."""

import json
import sys
import tomllib
from datetime import UTC, datetime
from pathlib import Path

from dev.environment import ROOT

BENCH = ROOT / ".adwarm/bench"
PAGES = ROOT / "docs/reference_pages"


def keep(name: str, bench: Path = BENCH, pages: Path = PAGES) -> Path:
    """Copy the tables of a result that the page shows, with the day and the machine of its run.

    Returns:
        The record, `records/NAME.json` of `pages`.

    Raises:
        KeyError: `records.toml` has no such record, or the result lacks a table of it.
        OSError: the benchmark has not run.
    """
    words = tomllib.loads((pages / "records.toml").read_text(encoding="utf-8"))[name]
    source = bench / f"{name}.json"
    result = json.loads(source.read_text(encoding="utf-8"))
    ran = datetime.fromtimestamp(source.stat().st_mtime, UTC).date()
    tables = {key: result[key] for key in words.get("tables", {"rows": None})}
    record = {"name": name, "ran": str(ran), "machine": result["machine"], **tables}
    target = pages / "records" / f"{name}.json"
    target.write_text(json.dumps(record, indent=2, ensure_ascii=False) + "\n", encoding="utf-8")
    return target


if __name__ == "__main__":
    for word in sys.argv[1:]:
        sys.stdout.write(f"wrote {keep(word).relative_to(ROOT)}; now run python docs/make_reference.py\n")
