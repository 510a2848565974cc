"""The documentation: complete, linked, and in step with the code."""

import ast
import inspect
import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import fields
from functools import cache
from importlib import import_module
from inspect import signature
from pathlib import Path
from typing import Any

import pytest
import typer
from pydantic import BaseModel
from typer.testing import CliRunner

from adwarm.backpressure.status import ScopeStatus
from adwarm.cli.app import app
from adwarm.replay.policy import SimplePolicy
from adwarm.settings import OTHER_VARIABLES, Settings
from adwarm.store.tables import metadata

ROOT = Path(__file__).resolve().parents[2]
DOCS = ROOT / "docs"
PAGES = sorted([*DOCS.rglob("*.md"), *(p for p in ROOT.glob("*.md"))])
LINK = re.compile(r"\[[^\]]*\]\(([^)\s]+)\)")
FENCE = re.compile(r"^```(\w*)\n(.*?)^```", re.MULTILINE | re.DOTALL)
IN_REPOSITORY = re.compile(r"`((?:include|plugins|dags|dev|tests|docs|examples|clients)/[\w./-]*)`")
VARIABLE = re.compile(r"\bADWARM_[A-Z0-9_]*[A-Z0-9]\b")


def _name(page: Path) -> str:
    return page.relative_to(ROOT).as_posix()


@cache
def _text(page: Path) -> str:
    return page.read_text(encoding="utf-8")


@cache
def _prose(page: Path) -> str:
    """Return a page with empty lines for its fenced blocks."""
    return FENCE.sub(lambda block: "\n" * block[0].count("\n"), _text(page))


@cache
def _examples(page: Path) -> list[tuple[int, ast.Module]]:
    """Return the Python examples of a page, each with its line."""
    blocks = [
        (_text(page).count("\n", 0, m.start()) + 1, m[2]) for m in FENCE.finditer(_text(page)) if m[1] == "python"
    ]
    return [(line, ast.parse(source, filename=f"{_name(page)}:{line}")) for line, source in blocks]


def _find(pattern: re.Pattern[str], text: str) -> Iterator[tuple[int, str]]:
    """Yield each match's line and its first group, or all of it."""
    for match in pattern.finditer(text):
        yield text.count("\n", 0, match.start()) + 1, match[1] if pattern.groups else match[0]


@cache
def _anchors(page: Path) -> set[str]:
    headings = re.findall(r"^#+ (.+)$", _prose(page), re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@cache
def _targets(page: Path) -> list[tuple[int, Path, str]]:
    """Return the relative links of a page: the line, the file and the anchor of each."""
    links = [(line, link) for line, link in _find(LINK, _prose(page)) if not re.match(r"mailto:|.*://", link)]
    split = ((line, link.partition("#")) for line, link in links)
    return [(line, (page.parent / path).resolve() if path else page, anchor) for line, (path, _, anchor) in split]


@cache
def _variables() -> set[str]:
    names = set(OTHER_VARIABLES)
    for name, field in Settings.model_fields.items():
        names.add(f"ADWARM_{name.upper()}")
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            names |= {f"ADWARM_{name}__{inner}".upper() for inner in section.model_fields}
    return names


def _containers() -> set[str]:
    """Settings that hold sections of their own: these are documented variable by variable."""
    kinds = {name: field.annotation for name, field in Settings.model_fields.items()}
    nested = {name for name, kind in kinds.items() if isinstance(kind, type) and issubclass(kind, BaseModel)}
    return {f"ADWARM_{name.upper()}" for name in {*nested, "reports", "connections"}}


def _commands(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Yield every command below `command` that does something itself."""
    nested = getattr(command, "commands", {})
    if not nested or command.invoke_without_command:
        yield name, command
    for child, item in nested.items():
        yield from _commands(f"{name} {child}", item)


def _known(variable: str) -> bool:
    return variable in _variables() or variable.startswith(("ADWARM_REPORTS__", "ADWARM_CONNECTIONS__"))


def _rows(text: str) -> dict[str, str]:
    """Return the last cell of each table row by its first one, without the marks of code and bold."""
    cells = [line.strip("| ").split(" | ") for line in text.splitlines() if line.startswith("| ")]
    return {row[0].strip("`* "): row[-1].strip("| ") for row in cells}


def _sections(page: str, heading: str = "## ") -> dict[str, str]:
    """Return the text of each section of a reference page by its title."""
    parts = re.split(f"^{heading}", _text(DOCS / "reference" / page), flags=re.MULTILINE)[1:]
    return {part.splitlines()[0].strip("`"): part for part in parts}


def _keyword_names(path: Path) -> Iterator[tuple[str, list[str]]]:
    """Yield each operator class in a file with the parameters of its constructor, read without Airflow."""
    for node in ast.parse(_text(path)).body:
        if isinstance(node, ast.ClassDef) and node.name.endswith("Operator"):
            inits = [item for item in node.body if isinstance(item, ast.FunctionDef) and item.name == "__init__"]
            yield node.name, [argument.arg for init in inits for argument in init.args.kwonlyargs]


def _dag_params(path: Path) -> list[str]:
    """Return the names of a DAG file's parameters, read without Airflow."""
    dicts = (
        node.value
        for node in ast.walk(ast.parse(_text(path)))
        if isinstance(node, ast.keyword) and node.arg == "params" and isinstance(node.value, ast.Dict)
    )
    return [ast.literal_eval(key) for item in dicts for key in item.keys if key is not None]


def _flat(document: dict[str, Any], prefix: str = "") -> Iterator[str]:
    """Yield the dotted names of a JSON document's figures, two levels deep."""
    for name, value in document.items():
        if isinstance(value, dict) and value and not prefix:
            yield from _flat(value, f"{name}.")
        else:
            yield f"{prefix}{name}"


def test_a_missing_description_is_reported() -> None:
    """The generator refuses a page with an empty description, and a page that lacks a marker."""
    sys.path.insert(0, str(DOCS))
    try:
        from reference_pages.markdown import Undocumented, described, fill
    finally:
        sys.path.remove(str(DOCS))

    with pytest.raises(Undocumented, match="columns of entry since"):
        described("columns of entry", {"since": " ", "until": "Last day."})
    with pytest.raises(Undocumented, match="adwarm plan"):
        fill("# Commands\n", {"adwarm plan": "text"})


def test_every_setting_is_documented() -> None:
    """Each setting has a row with a meaning on the settings page."""
    rows = _rows(_text(DOCS / "reference/settings.md"))
    plain = {name for name in _variables() - set(OTHER_VARIABLES) if name not in _containers()}

    assert sorted(name for name in plain if not rows.get(name)) == []


def test_every_table_and_column_is_documented() -> None:
    """Each table has a section, each column a row with a meaning in it, and each table says what bounds it."""
    sections, growth = _sections("tables.md"), _rows(_sections("tables.md")["What grows"])
    columns = {(table.name, column.name) for table in metadata.tables.values() for column in table.columns}

    assert sorted((t, c) for t, c in columns if not _rows(sections.get(t, "")).get(c)) == []
    assert sorted(name for name in metadata.tables if not growth.get(f"[`{name}`](#{name})")) == []


def test_every_command_and_option_is_documented() -> None:
    """Each command has a block on the commands page with a meaning for each argument and option."""
    text = _text(DOCS / "reference/commands.md")
    blocks = dict(re.findall(r"<!-- generated: ([\w -]+) -->(.*?)<!-- end -->", text, re.DOTALL))
    commands = dict(_commands("adwarm", typer.main.get_command(app)))
    lacking = [
        f"{name} {option}"
        for name, command in commands.items()
        for option in (param.opts[0] for param in command.params if param.name != "help" and param.opts[0][0] == "-")
        if not any(re.match(rf"{option}\b", row) and text for row, text in _rows(blocks.get(name, "")).items())
    ]

    assert set(blocks) == set(commands)
    assert lacking == []


def test_every_metric_is_documented(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each figure of `adwarm status --json` is on the metrics page, and so are those of scopes."""
    monkeypatch.setenv("ADWARM_HOME", str(tmp_path))
    for command in (["db", "upgrade"], ["status", "--json"]):
        done = CliRunner().invoke(app, command)
        assert done.exit_code == 0, done.output
    lists = [field.name for field in fields(ScopeStatus)]
    documented = set(re.findall(r"`([\w.]+)`", _text(DOCS / "reference/metrics.md")))
    names = [name for name in _flat(json.loads(done.stdout)) if name.partition(".")[0] != "warms"]

    assert sorted(name for name in [*names, *lists] if name not in documented) == []


def test_no_metric_is_emitted_undocumented() -> None:
    """Whoever adds a StatsD or OpenTelemetry metric names it on the metrics page."""
    emitted = re.compile(
        r"\b(?:Stats|stats|metrics|meter)\.(?:incr|decr|gauge|timing|create_\w+)\(\s*f?[\"']([\w.{}]+)"
    )
    sources = [path for folder in ("include", "plugins", "dags") for path in (ROOT / folder).rglob("*.py")]
    page = _text(DOCS / "reference/metrics.md")

    assert [name for path in sources for name in emitted.findall(_text(path)) if f"`{name}`" not in page] == []


def test_every_operator_and_parameter_is_documented() -> None:
    """Each public operator has a section, with a meaning for each parameter of its constructor."""
    sections = _sections("operators.md")
    folder = ROOT / "plugins/adwarm_airflow/operators"
    exported = set(re.findall(r'"(\w+)"', _text(folder / "__init__.py").partition("__all__")[2]))
    declared = {name: names for path in folder.glob("*.py") for name, names in _keyword_names(path)}

    assert set(sections) == exported
    assert sorted((o, p) for o in exported for p in declared.get(o, ()) if not _rows(sections[o]).get(p)) == []


def test_every_dag_and_parameter_is_documented() -> None:
    """Each DAG has a section, with a meaning for each of its parameters."""
    sections = _sections("dags.md")
    declared = {path.stem: _dag_params(path) for path in (ROOT / "dags").glob("adwarm_*.py")}

    assert all(declared.values())
    assert set(sections) == set(declared)
    assert sorted((dag, p) for dag, names in declared.items() for p in names if not _rows(sections[dag]).get(p)) == []


@pytest.mark.slow
@pytest.mark.parametrize(("module", "page"), [("adwarm", "api.md"), ("adwarm.testing", "testing.md")])
def test_every_public_name_is_documented_and_its_example_runs(module: str, page: str, tmp_path: Path) -> None:
    """Each name of `__all__` has a section, and an example that runs without network."""
    public = [name for name in import_module(module).__all__ if name != "__version__"]
    sections = _sections(page)
    examples = {name: FENCE.findall(sections[name])[-1] for name in public if name in sections}

    assert sorted(sections) == sorted(public)
    assert sorted(name for name, (language, _) in examples.items() if language not in {"python", "pycon"}) == []
    assert _failures({name: code for name, (_, code) in examples.items()}, tmp_path) == {}


def _failures(examples: dict[str, str], home: Path) -> dict[str, str]:
    """Run each example in a process of its own folder and database, and return the errors by name."""
    script = (
        "import doctest, json, sys, traceback\n"
        "failures = {}\n"
        "for name, code in json.load(sys.stdin).items():\n"
        "    try:\n"
        "        if code.startswith('>>>'):\n"
        "            test = doctest.DocTestParser().get_doctest(code, {}, name, None, 0)\n"
        "            doctest.DebugRunner().run(test)\n"
        "        else:\n"
        "            exec(compile(code, name, 'exec'), {'__name__': '__main__'})\n"
        "    except Exception:\n"
        "        failures[name] = traceback.format_exc()\n"
        "print('\\n' + json.dumps(failures))\n"
    )
    done = subprocess.run(
        [sys.executable, "-c", script],
        input=json.dumps(examples),
        cwd=home,
        env={**os.environ, "PYTHONPATH": str(ROOT / "include"), "ADWARM_HOME": str(home)},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert done.returncode == 0, done.stderr
    failures: dict[str, str] = json.loads(done.stdout.splitlines()[-1])
    return failures


def test_a_broken_example_is_reported(tmp_path: Path) -> None:
    """An example that raises, or a doctest with another result, is named with its error."""
    failures = _failures({"good": "x = 1\n", "bad": "raise ValueError('no')\n", "wrong": ">>> 1 + 1\n3\n"}, tmp_path)

    assert set(failures) == {"bad", "wrong"}


def test_links_lead_somewhere() -> None:
    """Every relative link names a file that is there, and every anchor a heading in it."""
    broken = [
        f"{_name(page)}:{line}: {path.name}#{anchor}"
        for page in PAGES
        for line, path, anchor in _targets(page)
        if not path.exists() or (anchor and anchor not in _anchors(path))
    ]

    assert sum(len(_targets(page)) for page in PAGES) > 100
    assert broken == []


def test_every_page_can_be_found() -> None:
    """Whoever starts at docs/README.md reaches every page by links."""
    seen: set[Path] = set()
    waiting = [DOCS / "README.md"]
    while waiting:
        page = waiting.pop()
        if page not in seen and page.suffix == ".md" and page.exists():
            seen.add(page)
            waiting.extend(path for _, path, _ in _targets(page))

    assert {_name(page) for page in DOCS.rglob("*.md")} <= {_name(page) for page in seen}


def test_the_readme_is_short() -> None:
    """The README has at most 1,000 words beside its code, and one table of at most eight settings."""
    text = re.sub(r"```.*?```", "", _text(ROOT / "README.md"), flags=re.DOTALL)

    assert len(text.split()) <= 1_000
    assert re.findall(r"^\|---.*", text, re.MULTILINE) == ["|---|---|---|"]
    assert 5 <= len(re.findall(r"^\| `ADWARM_", text, re.MULTILINE)) <= 8


def test_how_to_and_explanation_are_short() -> None:
    """They have at most 44,000 words, tables and code included; the runbook and the decisions are not counted."""
    pages = [*(DOCS / "how-to").glob("*.md"), *(DOCS / "explanation").glob("*.md")]

    assert sum(len(_text(page).split()) for page in pages if page.name != "decisions.md") <= 44_000


def test_make_help_fits_a_terminal() -> None:
    """`make help` shows eight targets, `make help-all` each that is documented; no line is wider than 80 columns."""
    listed = {
        target: subprocess.run(["make", "-s", target], cwd=ROOT, capture_output=True, text=True, check=True).stdout
        for target in ("help", "help-all")
    }
    documented = re.findall(r"^([a-z-]+):.*## ", _text(ROOT / "Makefile"), re.MULTILINE)

    assert listed["help"].count("\n") == 8 + 1
    assert re.findall(r"^([a-z-]+)  ", listed["help-all"], re.MULTILINE) == documented
    assert [line for text in listed.values() for line in text.splitlines() if len(line) > 80] == []


def test_variables_exist() -> None:
    """Every ADWARM_ variable that is written down is a setting."""
    found = {
        f"{_name(page)}:{line}": name
        for page in [*PAGES, ROOT / "docker-compose.yaml", ROOT / ".env.example"]
        for line, name in _find(VARIABLE, _text(page))
    }

    assert len(found) > 100
    assert {place: name for place, name in found.items() if not _known(name)} == {}


def test_python_examples_use_what_exists() -> None:
    """Every example is Python, and what it imports from adwarm exists; the plugin's names are read without Airflow."""
    operators = set(re.findall(r'"(\w+)"', _text(ROOT / "plugins/adwarm_airflow/operators/__init__.py")))
    imports = [
        (f"{_name(page)}:{line + node.lineno}", str(node.module), alias.name)
        for page in PAGES
        for line, tree in _examples(page)
        for node in ast.walk(tree)
        if isinstance(node, ast.ImportFrom)
        for alias in node.names
    ]
    missing = [
        f"{place}: {module}.{name}"
        for place, module, name in imports
        if (module == "adwarm_airflow.operators" and name not in operators)
        or (module.split(".")[0] == "adwarm" and not hasattr(import_module(module), name))
    ]

    assert imports
    assert missing == []


def test_the_example_policy_is_a_policy() -> None:
    """The policy of the how-to page has the methods, with the parameters, that a replay calls."""
    page = _text(DOCS / "how-to/write-a-policy.md")
    namespace: dict[str, Any] = {}
    exec(next(source for language, source in FENCE.findall(page) if language == "python"), namespace)
    policy = namespace["TwoDays"]()
    own = {name: method for name, method in vars(type(policy)).items() if inspect.isfunction(method)}

    assert own
    for name, method in own.items():
        assert [*signature(method).parameters] == [*signature(getattr(SimplePolicy, name)).parameters]


def test_paths_exist() -> None:
    """Every file or folder of the repository that a page names in code marks exists."""
    named = [(f"{_name(page)}:{line}", path) for page in PAGES for line, path in _find(IN_REPOSITORY, _prose(page))]

    assert len(named) > 100
    assert [f"{place}: {path}" for place, path in named if not (ROOT / path).exists()] == []


def test_each_operator_has_an_example() -> None:
    """Each operator has a section of its own, with an example that makes one in a DAG."""
    text = _text(DOCS / "how-to/operators-in-your-dag.md")
    sections = dict(re.findall(r"^## (\w+Operator)\n(.*?)(?=^## |\Z)", text, re.MULTILINE | re.DOTALL))
    examples = {
        name: [s for language, s in FENCE.findall(body) if language == "python"] for name, body in sections.items()
    }

    assert len(sections) >= 5
    assert [name for name, found in examples.items() if f"    {name}(" not in "".join(found)] == []


def test_commands_and_page_agree() -> None:
    """The command line offers exactly the commands that the reference describes."""
    commands = typer.main.get_command(app).commands  # type: ignore[attr-defined]
    offered = {name for name, command in commands.items() if not command.hidden}

    assert set(re.findall(r"^## ([\w-]+)$", _text(DOCS / "reference/commands.md"), re.MULTILINE)) == offered


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
