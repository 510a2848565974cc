"""The supply chain: the workflows, the licences and the SBOM."""

import json
import re
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import yaml

from adwarm import __version__
from dev import ci, sbom
from dev.licences import PAGE, Rules, check, is_allowed, load_rules, render
from dev.locked import RUNTIME_LOCK, LockedPackage, read_lock

ROOT = Path(__file__).resolve().parents[2]
WORKFLOWS = sorted((ROOT / ".github/workflows").glob("*.yml"))
BIN = Path(sys.executable).parent
NOT_IN_CI_RUN = {"licences", "sbom"}
"""Targets of the workflow alone; the runner may have them too."""


def _load(name: str) -> dict[str, Any]:
    document: dict[str, Any] = yaml.safe_load((ROOT / ".github" / name).read_text())
    return document


def _steps(workflow: dict[str, Any]) -> list[dict[str, Any]]:
    return [step for job in workflow["jobs"].values() for step in job["steps"]]


def test_the_workflow_runs_what_the_runner_runs() -> None:
    """ci.yml and the runner run the same targets of make, and each target exists."""
    workflow = _load("workflows/ci.yml")
    commands = "\n".join(step.get("run", "") for step in _steps(workflow))
    targets = set(re.findall(r"^make ([a-z-]+)", commands, re.MULTILINE))
    targets |= set(workflow["jobs"]["check"]["strategy"]["matrix"]["target"])
    runner = {part.name for part in (*ci.FIRST, *ci.OTHERS)} - {"setup"}  # jobs of the workflow install for themselves
    defined = set(re.findall(r"^([a-z-]+):", (ROOT / "Makefile").read_text(), re.MULTILINE))

    assert runner - targets == set()
    assert targets - runner - NOT_IN_CI_RUN == set()
    assert targets <= defined


@pytest.mark.slow
def test_the_workflows_have_no_finding() -> None:
    """zizmor finds nothing, and the files follow the schemas of GitHub."""
    found = subprocess.run([BIN / "zizmor", "--offline", "--no-progress", ".github"], cwd=ROOT, capture_output=True)
    assert found.returncode == 0, found.stdout.decode()
    for schema, files in (("github-workflows", WORKFLOWS), ("dependabot", [ROOT / ".github/dependabot.yml"])):
        command = [BIN / "check-jsonschema", "--builtin-schema", f"vendor.{schema}", *files]
        checked = subprocess.run(command, capture_output=True)
        assert checked.returncode == 0, checked.stdout.decode()


@pytest.mark.parametrize("path", WORKFLOWS, ids=lambda path: path.name)
def test_workflows_give_away_little(path: Path) -> None:
    """Actions are pinned by commit, checkouts keep no credentials, permissions start empty and are per job."""
    workflow = _load(f"workflows/{path.name}")
    assert workflow["permissions"] == {}
    assert all(job["timeout-minutes"] and job["permissions"] for job in workflow["jobs"].values())
    for step in _steps(workflow):
        if "uses" in step:
            assert re.fullmatch(r"[\w.-]+/[\w.-]+@[0-9a-f]{40}", step["uses"])
            assert "checkout" not in step["uses"] or step["with"]["persist-credentials"] is False
    assert "secrets." not in path.read_text()


def test_publishing_needs_an_environment() -> None:
    """Each job that may write has an environment, which the settings of the repository protect."""
    jobs = _load("workflows/release.yml")["jobs"]

    writing = {name for name, job in jobs.items() if "write" in job["permissions"].values()}
    assert writing == {"pypi", "image", "pages"}
    assert all("environment" in jobs[name] for name in writing)


def test_the_cool_down_is_one_number() -> None:
    """The Makefile, dependabot and the workflow wait for the same number of days."""
    [days] = re.findall(r"^COOL_DOWN_DAYS := (\d+)$", (ROOT / "Makefile").read_text(), re.MULTILINE)
    updates = _load("dependabot.yml")["updates"]

    assert {str(update["cooldown"]["default-days"]) for update in updates} == {days}
    assert f'--exclude-newer "{days} days"' in (ROOT / ".github/workflows/ci.yml").read_text()


def test_every_licence_is_allowed_and_the_page_is_current() -> None:
    """The packages of the runtime lock have allowed licences or a reason; `make licences` has nothing to write."""
    licences, problems = check(read_lock(), load_rules())

    assert problems == []
    assert render(licences, load_rules()) == PAGE.read_text(encoding="utf-8")


def _package(name: str) -> LockedPackage:
    return LockedPackage(name, "1", "", ("0" * 64,), ("adwarm",))


def test_licences_that_need_a_decision_are_found() -> None:
    """A forbidden, an unknown and a needless or stale entry each give a text that says what to do."""
    rules = Rules(frozenset({"MIT"}), {}, {"gpl": "GPL-3.0-only", "fine": "MIT"}, {"fine": "x", "gone": "x"})
    packages = [_package("gpl"), _package("of-nobody-at-all"), _package("fine")]

    _, problems = check(packages, rules)

    expected = ["gpl: GPL-3.0-only is not", "of-nobody-at-all: its licence", "fine: MIT is allowed", "gone: no such"]
    assert [problem[: len(start)] for problem, start in zip(problems, expected, strict=True)] == expected


@pytest.mark.parametrize(
    ("expression", "fine"),
    [
        ("MIT", True),
        ("GPL-3.0-only", False),
        ("MIT OR GPL-3.0-only", True),
        ("MIT AND GPL-3.0-only", False),
        ("(MIT OR X) AND ISC", True),
        ("MIT AND", False),
        ("", False),
    ],
)
def test_expressions_are_evaluated(expression: str, fine: bool) -> None:
    """All parts of an AND and one part of an OR must be allowed; what is no expression is not."""
    assert is_allowed(expression, frozenset({"MIT", "ISC", "Apache-2.0"})) is fine


def test_the_sbom_is_complete_and_reproducible() -> None:
    """It holds every package with version, hashes and licence, its graph is closed, and it is the same each time."""
    packages = read_lock()
    document = sbom.build_sbom(packages, __version__)
    sbom.check_sbom(document)

    assert len(document["components"]) == len(packages) > 200
    for component, package in zip(document["components"], packages, strict=True):
        [reference] = component["externalReferences"]
        assert [entry["content"] for entry in reference["hashes"]] == list(package.hashes)
        assert component["licenses"][0]["expression"]
    references = {component["bom-ref"] for component in document["components"]}
    reached = {reference for entry in document["dependencies"] for reference in entry["dependsOn"]}
    assert references == reached
    assert json.dumps(document) == json.dumps(sbom.build_sbom(read_lock(), __version__))


def test_a_malformed_sbom_is_refused() -> None:
    """A document that does not follow the schema is an error: here, a hash that is none."""
    with pytest.raises(ValueError, match="does not follow the schema"):
        sbom.check_sbom(sbom.build_sbom([LockedPackage("a", "1", "", ("not a hash",), ())], "1"))


def test_a_lock_without_hashes_is_refused(tmp_path: Path) -> None:
    """A package without a hash is an error that names it."""
    (tmp_path / "lock.txt").write_text("a==1 \\\n    # via adwarm\n")
    with pytest.raises(ValueError, match="a has no hash"):
        read_lock(tmp_path / "lock.txt")


def test_the_lock_begins_with_what_it_is() -> None:
    """The first lines say what the lock is, how it changes and how to add a package; `make lock` writes the same."""
    note = re.search(r"^define LOCK_NOTE\n(.*?)^endef", (ROOT / "Makefile").read_text(encoding="utf-8"), re.M | re.S)

    assert note is not None
    assert RUNTIME_LOCK.read_text(encoding="utf-8").startswith(note[1])
    assert "`make lock`" in note[1]
    assert "pip install -r yours.txt" in note[1]


def test_the_threat_model_names_tests_that_exist() -> None:
    """Every file and every test that SECURITY.md names as evidence exists."""
    words = set(re.findall(r"`((?:tests/[\w/]+\.py|test_\w+))`", (ROOT / "SECURITY.md").read_text()))
    files = {ROOT / word for word in words if word.startswith("tests/")}
    assert [str(file) for file in files if not file.is_file()] == []
    defined = {
        name for file in files for name in re.findall(r"^(?:async )?def (test_\w+)", file.read_text(), re.MULTILINE)
    }
    assert {word for word in words if word.startswith("test_")} - defined == set()
    assert len(words) > 30
