"""The order of CI, what it skips, and what it prints."""

import re
import subprocess
from collections import defaultdict
from pathlib import Path

import pytest

from dev import ci
from dev.ci import FIRST, OTHERS, Part, Run, choose_next, find_closing_line, is_reached, list_changed_files, sort_parts

ROOT = Path(__file__).resolve().parents[3]
NAMES = {part.name for part in OTHERS}
MAKEFILE = """
lint test good other:
\t@echo "output of $@"
bad:
\t@echo "output of $@"; echo "FAILED tests/test_a.py::test_b - broken"; false
tests: test
\t@echo "12 passed, 3 skipped in 4.56s"
"""
FOLDERS = {"browser": "test-browser", "packaging": "test-wheel", "topology": "topology-test"} | {
    name: f"test-{name}" for name in ("docs", "hostile", "interop", "smoke")
}
"""Folders of tests, by the part that runs them; those that are not here are run by `test` and test-slow."""


def reached(*changed: str) -> set[str]:
    """Return the names of the parts that these files reach."""
    return {part.name for part in OTHERS if is_reached(part, changed)}


def test_pages_reach_only_the_parts_that_read_them() -> None:
    """A change of documents runs what reads documents, and nothing that starts Airflow."""
    assert reached("docs/how-to/deploy.md", "SECURITY.md") == {"docs-build", "test-docs", "test-slow"}
    assert reached("README.md") - reached("docs/index.md") == {"test-wheel"}


@pytest.mark.parametrize(
    "path",
    ["include/adwarm/foundation/clock.py", "Makefile", "requirements.txt", "tests/conftest.py", "new/folder.txt"],
)
def test_a_file_that_no_part_owns_reaches_every_part(path: str) -> None:
    """Product, build, shared fixtures and what nobody thought of run everything, also beside a page."""
    assert reached(path) == reached(path, "docs/index.md") == NAMES


def test_every_part_runs_when_the_change_is_not_known() -> None:
    """Where the base is in doubt, nothing is skipped; where nothing has changed, everything is."""
    assert all(is_reached(part, None) for part in OTHERS)
    assert reached() == set()


def test_what_other_tests_import_is_owned_by_their_parts_too() -> None:
    """A folder of tests that a part owns is imported only by parts that own it, so that no skip hides a failure."""
    importers = defaultdict(set)
    for path in (ROOT / "tests").rglob("*.py"):
        for name in re.findall(r"^ *(?:from|import) tests\.(\w+)", path.read_text(encoding="utf-8"), re.MULTILINE):
            importers[name].add(FOLDERS.get(path.relative_to(ROOT / "tests").parts[0], "test-slow"))
    owners = {name: {part.name for part in OTHERS if f"tests/{name}/*" in part.own} for name in (*FOLDERS, "unit")}

    assert {name: importers[name] - found for name, found in owners.items() if importers[name] - found} == {}
    assert all((ROOT / "tests" / name).is_dir() for name in FOLDERS)


def test_the_parts_of_a_change_start_first() -> None:
    """What the change touches comes before what it does not, and among these the longest first."""
    assert {part.name for part in sort_parts(["tests/interop/conftest.py"])[:1]} == {"test-interop"}
    seconds = [part.seconds for part in sort_parts(None)]
    assert seconds == sorted(seconds, reverse=True)


def test_parts_run_beside_each_other_while_there_is_room() -> None:
    """A part starts when the cores have time and nobody uses what it uses; one that needs more than all runs alone."""
    wide, half, npm, other = (
        Run(part)
        for part in (Part("a", 9, 3.0), Part("b", 9, 1.2), Part("c", 9, 0.6, shares=("npm",)), Part("d", 9, 0.6))
    )
    assert choose_next([wide, half], [], 2.0) is wide
    assert choose_next([wide, half], [half], 2.0) is half
    assert choose_next([wide, npm, other], [half, npm], 2.0) is other
    assert choose_next([other], [half, npm, other], 2.0) is None


@pytest.fixture
def makefile(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Parts that take no time, in a folder of their own."""
    (tmp_path / "Makefile").write_text(MAKEFILE, encoding="utf-8")
    monkeypatch.setattr(ci, "ROOT", tmp_path)
    monkeypatch.setattr(ci, "LOGS", tmp_path / "logs")
    monkeypatch.setattr(ci, "list_changed_files", lambda root, base: ["README.md"])
    monkeypatch.setattr(ci, "FIRST", (Part("lint", 1, 1.0), Part("tests", 1, 1.0)))


@pytest.mark.usefixtures("makefile")
def test_a_failed_part_fails_the_run_and_the_others_run(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Each output is printed whole under its name, failures again before the table, which names what was skipped."""
    parts = (Part("bad", 3, 1.0), Part("good", 2, 1.0, own=("*.md",)), Part("other", 1, 1.0, own=("other/*",)))
    monkeypatch.setattr(ci, "OTHERS", (*parts[1:], Part("bad", 3, 1.0, own=("README.md",))))

    assert ci.main([]) == 1
    printed = capfd.readouterr().out
    assert re.search(r"== \S+ bad FAILED after \d+ s\noutput of bad\n", printed)
    assert re.search(r"== \S+ good passed after \d+ s\noutput of good\n", printed)
    assert re.search(r"\n== bad\nFAILED tests/test_a.py::test_b - broken\n\npart +result", printed)
    assert re.search(r"^bad +FAILED +\d+ +\d+$", printed, re.MULTILINE)
    assert re.search(r"^other +skipped +0 +0$", printed, re.MULTILINE)


@pytest.mark.usefixtures("makefile")
@pytest.mark.parametrize("first", ["bad", "lint"])
def test_nothing_else_runs_after_a_failure_at_the_beginning(
    first: str, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    """Lint and tests end the run when they fail; when both pass, the rest runs."""
    monkeypatch.setattr(ci, "FIRST", (Part(first, 1, 1.0), Part("test", 1, 1.0)))
    monkeypatch.setattr(ci, "OTHERS", (Part("good", 1, 1.0),))

    assert ci.main([]) == int(first == "bad")
    assert ("output of good" in capfd.readouterr().out) == (first != "bad")


@pytest.mark.usefixtures("makefile")
def test_named_parts_run_alone(capfd: pytest.CaptureFixture[str]) -> None:
    """Names choose parts, also ones that the change does not reach; an unknown name is refused."""
    assert ci.main(["lint"]) == 0
    assert "tests" not in capfd.readouterr().out
    assert ci.main(["no-such-part"]) == 2
    assert "there is no part no-such-part" in capfd.readouterr().out


def test_the_closing_line_of_the_tests_is_found(tmp_path: Path) -> None:
    """It is the last line in which pytest counts, whatever make prints after it; without one it is empty."""
    log = tmp_path / "test.log"
    assert find_closing_line(log) == ""
    log.write_text("1 passed in 1s\nnoise\n2 failed, 10 passed, 3 skipped in 4.56s\nmake: *** [test] Error 1\n")
    assert find_closing_line(log) == "2 failed, 10 passed, 3 skipped in 4.56s"


def test_changes_are_told_from_what_has_landed(tmp_path: Path) -> None:
    """Commits, edits, new and moved files since the base count; a clone of what has landed has no base."""

    def git(folder: Path, *words: str) -> None:
        command = ["git", "-C", str(folder), "-c", "user.name=a", "-c", "user.email=a@example.com", *words]
        subprocess.run(command, check=True, capture_output=True)

    landed, clone = tmp_path / "landed", tmp_path / "clone"
    landed.mkdir()
    git(landed, "init", "--initial-branch", "main")
    for name in ("a.md", "b.md", "c.md"):
        (landed / name).write_text(f"{name}\n" * 9, encoding="utf-8")
    git(landed, "add", ".")
    git(landed, "commit", "--message", "one")
    git(tmp_path, "clone", str(landed), str(clone))
    assert list_changed_files(clone, None) is None
    assert list_changed_files(clone, "no-such-commit") is None
    assert list_changed_files(tmp_path / "nowhere", None) is None

    git(clone, "mv", "a.md", "moved.md")
    git(clone, "commit", "--message", "two")
    (clone / "b.md").write_text("edited", encoding="utf-8")
    (clone / "ä.md").write_text("new", encoding="utf-8")
    assert list_changed_files(clone, None) == ["a.md", "b.md", "moved.md", "ä.md"]
    assert list_changed_files(clone, "HEAD") == ["b.md", "ä.md"]


def test_each_part_is_a_target_of_make() -> None:
    """Each part names a documented target once."""
    targets = re.findall(r"^([a-z-]+):.*## ", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE)
    names = [part.name for part in (*FIRST, *OTHERS)]
    assert set(names) <= set(targets)
    assert len(names) == len(set(names))
