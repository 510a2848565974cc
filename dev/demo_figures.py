"""Writes the figures of the last `make demo` into README.md and docs/quickstart.md: `python -m dev.demo_figures`.

The sample of the demo's output is drawn from `tests/unit/dev/demo_summary.json`, a copy of the summary that tests
compare with a run. The times stay, because they depend on the machine and its load; `--times` takes those of the run.
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
QUICKSTART = ROOT / "docs" / "quickstart.md"
SUMMARY = ROOT / "tests" / "unit" / "dev" / "demo_summary.json"
WIDTH = 100
_SAMPLE = re.compile(r"(?<=^```text\n)Results\n.*?(?=^```$)", re.MULTILINE | re.DOTALL)
_HEADLINE = re.compile(r"(?<=<!-- demo -->\n).*?(?=<!-- end -->)", re.DOTALL)


def render_sample(summary: Mapping[str, Any], width: int = WIDTH) -> str:
    """Return what the demo prints at its end for a summary."""
    console = Console(file=io.StringIO(), width=width, color_system=None)
    DemoReport(**{item.name: summary[item.name] for item in fields(DemoReport)}).show(console, summary["times"])
    next_steps(console, Path(".adwarm/demo/env"), summary["log"]["first_account"])
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def render_headline(summary: Mapping[str, Any]) -> str:
    """Return what the demo saves, in one paragraph of Markdown."""
    served, api, plan = summary["served"], summary["api"], summary["plan"]
    return (
        "\nIn its demo, where departures of flights stand for opens, "
        f"**{served['first_open_hit_ratio']:.1%} of a day's first opens** find a fresh report;\n"
        f"without warming, {served['first_open_hit_ratio_without_warming']:.1%}.\n"
        f"A stored report is answered in {summary['times']['hit_p50_ms']} ms, and takes "
        f"{api['first_visit_bytes'] / api['row_bytes']:.1%} of the bytes of plain JSON.\n"
        f"{plan['used']} of {plan['used'] + plan['wasted']} warms were used.\n\n"
    )


def find_figures(readme: str, quickstart: str) -> tuple[str, str]:
    """Return the paragraph in the text of the README, and the sample in that of the quickstart.

    Raises:
        ValueError: a text has none.
    """
    headline, sample = _HEADLINE.search(readme), _SAMPLE.search(quickstart)
    if headline is None or sample is None:
        raise ValueError("README.md lacks <!-- demo -->, or quickstart.md a block of text that begins with Results")
    return headline[0], sample[0]


def main() -> None:
    """Write all three files."""
    summary = json.loads((DEMO_HOME / "summary.json").read_text(encoding="utf-8"))
    if "--times" not in sys.argv[1:]:
        summary["times"] = json.loads(SUMMARY.read_text(encoding="utf-8"))["times"]
    SUMMARY.write_text(json.dumps(summary, indent=2) + "\n", encoding="utf-8")
    pages = {page: page.read_text(encoding="utf-8") for page in (README, QUICKSTART)}
    rendered = (render_headline(summary), render_sample(summary))
    for (page, text), old, new in zip(pages.items(), find_figures(*pages.values()), rendered, strict=True):
        page.write_text(text.replace(old, new), encoding="utf-8")


if __name__ == "__main__":
    main()
