"""What the demo says: its table, why readers wait without warming, and the figures of it in the pages."""

import json
from datetime import UTC, date, datetime, timedelta
from pathlib import Path
from types import SimpleNamespace

import pytest

from adwarm.model import ReportKey
from adwarm.settings import Settings
from dev import demo_figures
from dev.demo_day import Open, ReplayDay, replay_without_warming
from dev.demo_figures import find_figures, render_headline, render_sample

SUMMARY = json.loads(demo_figures.SUMMARY.read_text(encoding="utf-8"))
"""`summary.json` of `make demo` on the shipped log."""
START = datetime(2026, 3, 2, tzinfo=UTC)


def _figures() -> tuple[str, str]:
    pages = (demo_figures.README, demo_figures.QUICKSTART)
    return find_figures(*(page.read_text(encoding="utf-8") for page in pages))


def test_the_pages_show_what_the_demo_prints() -> None:
    """README and quickstart have the figures of the shipped log, to the letter."""
    assert _figures() == (render_headline(SUMMARY), render_sample(SUMMARY))


def test_the_command_writes_the_figures_of_a_run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Pages and copy get the figures of the demo's summary; the times stay unless they are asked for."""
    ran = {**SUMMARY, "fatigue": {"critical": 7}, "times": {**SUMMARY["times"], "wall_seconds": 999.0}}
    (tmp_path / "summary.json").write_text(json.dumps(ran), encoding="utf-8")
    lines = demo_figures.QUICKSTART.read_text(encoding="utf-8").count("## ")
    for name in ("README", "QUICKSTART", "SUMMARY"):
        copy = tmp_path / name
        copy.write_text(getattr(demo_figures, name).read_text(encoding="utf-8"), encoding="utf-8")
        monkeypatch.setattr(demo_figures, name, copy)
    monkeypatch.setattr(demo_figures, "DEMO_HOME", tmp_path)
    for arguments, seconds in (([], SUMMARY["times"]["wall_seconds"]), (["--times"], 999.0)):
        monkeypatch.setattr("sys.argv", ["demo_figures", *arguments])
        demo_figures.main()
        written = json.loads(demo_figures.SUMMARY.read_text(encoding="utf-8"))
        assert written == {**ran, "times": {**SUMMARY["times"], "wall_seconds": seconds}}
        assert _figures() == (render_headline(written), render_sample(written))
        text = demo_figures.QUICKSTART.read_text(encoding="utf-8")
        assert "critical 7" in text
        assert text.count("## ") == lines


def test_long_lines_keep_their_indent() -> None:
    """On a narrow terminal the sentences of the examples stay below their key."""
    examples = render_sample(SUMMARY, width=72).partition("Three of the planned warms\n")[2]
    lines = examples.partition("\nNext")[0].splitlines()

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
    other = {**SUMMARY, "served": SUMMARY["served"] | {"unread_without_warming": 300, "expired_without_warming": 80}}
    none, some = (" ".join(render_sample(summary, width=240).split()) for summary in (SUMMARY, other))

    assert "384 of 386 are the first open of their report that day, 2 come after the entry" in none
    assert "find an entry" not in none
    assert "300 of 386 are the first open of their report that day, 80 come after the entry of an earlier open" in some
    assert "has expired, 6 find an entry" in some
