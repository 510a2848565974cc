"""What the demo says: its table, why readers wait without warming, and the sample of it in the README."""

import io
import json
from dataclasses import fields
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
from rich.console import Console

from adwarm.model import ReportKey
from adwarm.settings import Settings
from dev.demo import next_steps
from dev.demo_day import DemoReport, Open, ReplayDay, replay_without_warming
from tests.docs.blocks import ROOT, find_blocks

SUMMARY = json.loads((Path(__file__).parent / "demo_summary.json").read_text(encoding="utf-8"))
"""`summary.json` of `make demo` on the shipped log."""
START = datetime(2026, 3, 2, tzinfo=UTC)


def _report(**served: int) -> DemoReport:
    values: dict[str, Any] = {field.name: SUMMARY[field.name] for field in fields(DemoReport)}
    return DemoReport(**values | {"served": SUMMARY["served"] | served})


def _shown(report: DemoReport, width: int = 100) -> str:
    console = Console(file=io.StringIO(), width=width, color_system=None)
    report.show(console, SUMMARY["times"])
    next_steps(console, Path(".adwarm/demo/env"), "act_100094638782415")
    text: str = console.file.getvalue()  # type: ignore[attr-defined]
    return "".join(f"{line.rstrip()}\n" for line in text.splitlines())


def test_the_readme_shows_what_the_demo_prints() -> None:
    """The sample in the README is the output for the figures of the shipped log, to the letter."""
    sample = next(block.text for block in find_blocks(ROOT / "README.md") if block.text.startswith("Results"))

    assert sample == _shown(_report())


def test_long_lines_keep_their_indent() -> None:
    """On a narrow terminal the sentences of the examples stay below their key."""
    lines = _shown(_report(), width=72).partition("Three of the planned warms\n")[2].partition("\nNext")[0].splitlines()

    assert len(lines) > 6
    assert all(line.startswith("  ") for line in lines if line)


@pytest.mark.parametrize(
    ("opens", "unread", "expired", "hits"),
    [
        ([("act_1", 9)], 1, 0, 0),
        ([("act_1", 9), ("act_2", 9)], 2, 0, 0),
        ([("act_1", 9), ("act_1", 10)], 1, 0, 1),
        ([("act_1", 1), ("act_1", 20)], 1, 1, 0),
    ],
)
def test_without_warming_a_wait_has_its_reason(
    opens: list[tuple[str, int]], unread: int, expired: int, hits: int
) -> None:
    """Every first open is the report's first of the day, comes after an expiry, or finds an entry."""
    items = [Open(START + timedelta(hours=hour), ReportKey(name, "today"), True) for name, hour in opens]
    day = ReplayDay(date(2026, 3, 2), "UTC", START, START + timedelta(days=1), items)
    counts = replay_without_warming(day, SimpleNamespace(settings=Settings()))  # type: ignore[arg-type]

    assert (counts.unread, counts.expired, counts.first_hits) == (unread, expired, hits)
    assert counts.unread + counts.expired + counts.first_hits == counts.first_opens == len(opens)


def test_the_table_explains_the_figure_without_warming() -> None:
    """It counts the first opens under each reason; those that find an entry are named only when there are some."""
    none = " ".join(_shown(_report(), width=240).split())
    some = " ".join(_shown(_report(unread_without_warming=300, expired_without_warming=80), width=240).split())

    assert "384 of 386 are the first open of their report that day, 2 come after the entry" in none
    assert "find an entry" not in none
    assert "300 of 386 are the first open of their report that day, 80 come after the entry of an earlier open" in some
    assert "has expired, 6 find an entry" in some
