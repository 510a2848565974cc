"""The page with the last result: docs/reference/mutants.md."""

import subprocess
from collections import defaultdict
from pathlib import Path

from tests.mutants.forks import ROOT
from tests.mutants.session import Result, Session

PAGE = ROOT / "docs/reference/mutants.md"
_INTRODUCTION = """\
# Mutants

Do the tests notice when a rule changes? `make mutants SEED=7` changes the code that decides, one place at a time, runs
the tests of that module on each change, and writes this page. A mutant is killed when a test fails. The mutations are
those of [cosmic-ray](https://pypi.org/project/cosmic-ray/); `tests/mutants/sites.py` says which it leaves out.
"""


def write_page(path: Path, session: Session) -> None:
    """Write the page of a session that ran every target."""
    path.write_text(render(session, _describe_commit()), encoding="utf-8")


def render(session: Session, commit: str) -> str:
    """Return the page."""
    lines = [
        _INTRODUCTION,
        f"Last result, {commit}, seed {session.seed}:",
        f"{session.killed} of {len(session.results)} mutants were killed, {session.share:.1%}.",
        f"That took {session.cpu_minutes:.0f} minutes of CPU time.\n",
        "| rule | module | applied | killed |",
        "|---|---|---|---|",
    ]
    by_module = defaultdict(list)
    for result in session.results:
        by_module[result.mutant.path].append(result)
    for target in session.targets:
        of_module = by_module[target.module]
        killed = sum(bool(result.killer) for result in of_module)
        lines.append(f"| {target.rule} | `{target.module}` | {len(of_module)} | {killed} |")
    lines += ["", "## Survivors", ""]
    lines += [_describe(result) for result in sorted(session.survivors, key=lambda each: each.mutant.key)]
    return "\n".join(lines).rstrip("\n") + "\n"


def _describe(result: Result) -> str:
    mutant = result.mutant
    before, after = _shorten(mutant.before, mutant.after)
    where = f"`{mutant.path}`" + (f", `{mutant.function}`" if mutant.function else "")
    return f"- {where}: `{before}` as `{after}`. {result.reason or 'Not yet explained.'}"


def _shorten(before: str, after: str, around: int = 24) -> tuple[str, str]:
    """Return the part in which two texts differ, with some characters around it."""
    shorter = min(len(before), len(after))
    start = next((i for i in range(shorter) if before[i] != after[i]), shorter)
    end = next((i for i in range(shorter - start) if before[-1 - i] != after[-1 - i]), shorter - start)
    first, last = max(0, start - around), max(0, end - around)
    return before[first : len(before) - last].strip(), after[first : len(after) - last].strip()


def _describe_commit() -> str:
    command = ["git", "show", "--no-patch", "--format=%cs, commit %h", "HEAD"]
    return subprocess.run(command, cwd=ROOT, capture_output=True, text=True, check=True).stdout.strip()
