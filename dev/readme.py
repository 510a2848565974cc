"""Writes the figures of the last `make demo` into the sample of its output in README.md: `python -m dev.readme`.

The sample is drawn from `tests/unit/dev/demo_summary.json`, a copy of the summary that tests compare with a run.
The times in it stay, because they depend on the machine and its load; `--times` takes those of the run as well.
"""

import io
import json
import re
import sys
from collections.abc import Mapping
from dataclasses import fields
from pathlib import Path
from typing import Any

from rich.console import Console

from dev.demo import next_steps
from dev.demo_day import DemoReport
from dev.environment import DEMO_HOME, ROOT

README = ROOT / "README.md"
SUMMARY = ROOT / "tests" / "unit" / "dev" / "demo_summary.json"
WIDTH = 100
_SAMPLE = re.compile(r"(?<=^```text\n)Results\n.*?(?=^```$)", re.MULTILINE | re.DOTALL)


def render_sample(summary: Mapping[str, Any], width: int = WIDTH) -> str:
    """Return what the demo prints at its end for a summary."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    DemoReport(**{item.name: summary[item.name] for item in fields(DemoReport)}).show(console, summary["times"])
    next_steps(console, Path(".adwarm/demo/env"), summary["log"]["first_account"])
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def find_sample(text: str) -> str:
    """Return the sample in the text of the README.

    Raises:
        ValueError: it has none.
    """
    found = _SAMPLE.search(text)
    if found is None:
        raise ValueError("README.md has no block of text that begins with Results")
    return found[0]


def main() -> None:
    """Write both files."""
    summary = json.loads((DEMO_HOME / "summary.json").read_text(encoding="utf-8"))
    if "--times" not in sys.argv[1:]:
        summary["times"] = json.loads(SUMMARY.read_text(encoding="utf-8"))["times"]
    SUMMARY.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    text = README.read_text(encoding="utf-8")
    README.write_text(text.replace(find_sample(text), render_sample(summary)), encoding="utf-8")


if __name__ == "__main__":
    main()
