"""The documentation: complete, linked, and in step with the code."""

import ast
import os
import re
import subprocess
import sys
from pathlib import Path

import pytest
from pydantic import BaseModel

from adwarm.settings import Settings

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *(p for p in ROOT.glob("*.md"))])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
VARIABLE = re.compile(r"\bADWARM_[A-Z0-9_]*[A-Z0-9]\b")
NOT_SETTINGS = {"ADWARM_CONFIG", "ADWARM_IMAGE", "ADWARM_POSTGRES_PASSWORD"}


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


def _text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


def _prose(page: Path) -> str:
    return FENCE.sub("", _text(page))


def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", _prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


def _targets(page: Path) -> list[tuple[Path, str]]:
    links = [link for link in LINK.findall(_prose(page)) if "://" not in link and not link.startswith("mailto:")]
    split = (link.partition("#") for link in links)
    return [((page.parent / path).resolve() if path else page, anchor) for path, _, anchor in split]


def _variables() -> set[str]:
    names = set(NOT_SETTINGS)
    for name, field in Settings.model_fields.items():
        names.add(f"ADWARM_{name.upper()}")
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            names |= {f"ADWARM_{name}__{inner}".upper() for inner in section.model_fields}
    return names


def _known(variable: str) -> bool:
    return variable in _variables() or variable.startswith(("ADWARM_REPORTS__", "ADWARM_CONNECTIONS__"))


def test_the_generated_pages_are_up_to_date() -> None:
    """Settings and tables pages are what the code says; the message names the command that renews them."""
    done = subprocess.run(
        [sys.executable, str(DOCS / "make_reference.py"), "--check"],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )

    assert done.returncode == 0, done.stderr


def test_every_setting_is_described() -> None:
    """No row of the settings page ends with an empty meaning."""
    rows = [line for line in _text(DOCS / "reference/settings.md").splitlines() if line.startswith("| `ADWARM_")]

    assert len(rows) > 50
    assert [row for row in rows if re.search(r"\|\s*\|$", row)] == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_links_lead_somewhere(page: Path) -> None:
    """Every relative link names a file that is there, and every anchor a heading in it."""
    targets = _targets(page)
    missing = [str(path) for path, _ in targets if not path.exists()]
    adrift = [f"{path.name}#{anchor}" for path, anchor in targets if anchor and anchor not in _anchors(path)]

    assert missing == []
    assert adrift == []


def test_every_page_can_be_found() -> None:
    """Whoever starts at docs/README.md reaches every page by links."""
    seen: set[Path] = set()
    waiting = [DOCS / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in seen and page.suffix == ".md" and page.exists():
            seen.add(page)
            waiting.extend(path for path, _ in _targets(page))

    assert {_name(page) for page in DOCS.rglob("*.md")} <= {_name(page) for page in seen}


@pytest.mark.parametrize("page", [*PAGES, ROOT / "docker-compose.yaml", ROOT / ".env.example"], ids=_name)
def test_variables_exist(page: Path) -> None:
    """Every ADWARM_ variable that is written down is a setting."""
    assert [name for name in sorted(set(VARIABLE.findall(_text(page)))) if not _known(name)] == []


@pytest.mark.parametrize("page", PAGES, ids=_name)
def test_python_examples_are_python(page: Path) -> None:
    """Every Python example compiles."""
    sources = [source for language, source in FENCE.findall(_text(page)) if language == "python"]

    assert all(isinstance(ast.parse(source), ast.Module) for source in sources)


def test_each_operator_has_an_example() -> None:
    """Each operator has a section of its own, with an example that makes one in a DAG."""
    text = _text(DOCS / "how-to/operators-in-your-dag.md")
    sections = dict(re.findall(r"^## (\w+Operator)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    examples = {
        name: [s for language, s in FENCE.findall(body) if language == "python"] for name, body in sections.items()
    }

    assert len(sections) >= 5
    assert [name for name, found in examples.items() if f"    {name}(" not in "".join(found)] == []


def test_dags_and_pages_agree() -> None:
    """Each DAG file has a section in the reference, and each section a DAG file."""
    text = _text(DOCS / "reference/dags.md")
    sections = set(re.findall(r"^## (adwarm_\w+)$", text, re.MULTILINE))

    assert sections == {path.stem for path in (ROOT / "dags").glob("adwarm_*.py")}


def test_commands_and_page_agree() -> None:
    """The command line offers exactly the commands that the reference describes."""
    done = subprocess.run(
        [sys.executable, "-c", "from adwarm.cli import main; main()", "--help"],
        env={**os.environ, "PYTHONPATH": str(ROOT / "include"), "COLUMNS": "160", "NO_COLOR": "1", "TERM": "dumb"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    offered = set(re.findall(r"^[\s│|]*([a-z]+)\s{2,}", done.stdout, re.MULTILINE))

    assert done.returncode == 0, done.stderr
    assert set(re.findall(r"^## (\w+)$", _text(DOCS / "reference/commands.md"), re.MULTILINE)) == offered


def test_decisions_are_numbered_and_whole() -> None:
    """Records count up without a gap, state status, context, decision and consequences, and are listed."""
    records = sorted(DOCS.glob("adr/[0-9]*.md"))
    index = _text(DOCS / "adr/README.md")
    parts = ["Status", "Context", "Decision", "Consequences"]

    assert [int(record.name[:4]) for record in records] == list(range(1, len(records) + 1))
    assert [_name(r) for r in records if re.findall(r"^## (.+)$", _text(r), re.MULTILINE) != parts] == []
    assert [_name(r) for r in records if f"({r.name})" not in index] == []


def test_the_licence_is_apache() -> None:
    """LICENSE is the whole Apache License 2.0, and pyproject.toml names it."""
    licence = _text(ROOT / "LICENSE")

    assert "Version 2.0, January 2004" in licence
    assert "END OF TERMS AND CONDITIONS" in licence
    assert 'license = "Apache-2.0"' in _text(ROOT / "pyproject.toml")


def test_the_changelog_has_an_unreleased_section() -> None:
    """The changelog keeps its form: Unreleased first, with known kinds of change."""
    text = _text(ROOT / "CHANGELOG.md")
    kinds = set(re.findall(r"^### (.+)$", text, re.MULTILINE))

    assert re.findall(r"^## \[(.+?)\]", text, re.MULTILINE)[0] == "Unreleased"
    assert kinds <= {"Added", "Changed", "Deprecated", "Removed", "Fixed", "Security", "Behaviour changes"}
