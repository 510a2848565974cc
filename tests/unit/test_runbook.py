"""The runbook is complete: each page has its sections, its rehearsal, and the output of its commands."""

import inspect
import re

from tests.rehearsal.incidents import INCIDENTS
from tests.rehearsal.transcripts import RUNBOOK, SECTIONS, Transcript, list_pages, normalize, read_steps


def test_each_page_has_a_rehearsal_and_is_listed() -> None:
    """At least ten incidents, each with a page that the first page names."""
    index = (RUNBOOK / "index.md").read_text(encoding="utf-8")

    assert len(INCIDENTS) >= 10
    assert {page.stem for page in list_pages()} == set(INCIDENTS)
    assert [name for name in INCIDENTS if f"({name}.md)" not in index] == []


def test_a_page_has_its_sections_and_its_output() -> None:
    """The sections come in their order, and each step of the rehearsal is in the page, in order, with real output."""
    for name in INCIDENTS:
        page = RUNBOOK / f"{name}.md"
        steps = read_steps(page)
        rehearsed = re.findall(r'stage\.show\(\s*"([a-z-]+)"', inspect.getsource(INCIDENTS[name]))
        assert tuple(re.findall(r"^## (.+)$", page.read_text(encoding="utf-8"), re.MULTILINE)) == SECTIONS, name
        assert sorted(steps) == sorted(rehearsed), name
        assert [step for step, text in steps.items() if not text.startswith("$ ")] == [], name
        ours = [text for text in steps.values() if text.startswith("$ adwarm ")]
        assert ours, name
        assert [text for text in ours if text.count("\n") < 2] == [], name


def test_what_differs_from_run_to_run_is_ignored() -> None:
    """Numbers, times, hashes, paths and widths do not matter; words do."""
    first = Transcript("a", "adwarm x", "│ ok   │ home   │ /srv/a: 74 GB, 1 object 0123abcdef01, 2026-11-25 10:00 │\n")
    other = Transcript("a", "adwarm x", "│ ok │ home │ /srv/b: 9 GB, 3 objects 99aabbccdd00, 2027-01-01 23:59 │\n")

    assert normalize(first.text) == normalize(other.text)
    assert normalize(first.text) != normalize(first.text.replace("ok", "FIX"))
