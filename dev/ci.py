"""Runs what has to hold before a change lands: `bash .ci/run`, and `bash .ci/run NAME ...` for some parts of it.

Lint and `make test` come first, beside each other, and their failure ends the run. Then all other parts run, as many
beside each other as the cores have time for, those first that the change touches. A part whose result cannot have
changed is skipped. At the end stands what failed, a table says what each part took, and the closing line of `make test`
is last.

It uses the standard library alone: it starts before the virtual environment exists.
"""

from __future__ import annotations

import contextlib
import fnmatch
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
LOGS = ROOT / ".adwarm/ci"
FULL = 1.25
"""Times the cores that parts may take together by the table: now and then, each of them waits."""


@dataclass(frozen=True)
class Part:
    """A target of make, and what the order of the run depends on.

    Attributes:
        seconds: what it takes alone on two cores.
        cores: CPU seconds that it takes in each of these; a part that mostly waits has less than one half.
        own: patterns of paths that reach only the parts that name them. Any other path reaches every part.
        shares: what only one part at a time can use.
        variables: assignments after the target.
    """

    name: str
    seconds: int
    cores: float
    own: tuple[str, ...] = ()
    shares: tuple[str, ...] = ()
    variables: tuple[str, ...] = ()


PAGES = ("*.md", "docs/*", "mkdocs.yml")
CLIENTS = ("clients/*", "examples/dashboard/*", "docs/reference/openapi.json")

ALONE = 99.0
"""Cores of a part beside which no other one runs."""
FIRST = (Part("setup", 10, ALONE), Part("lint", 50, 1.0), Part("test", 290, 1.5))
"""These run before all others, for every change; what the first one installs all others use."""

# What parts write in the checkout is apart: .adwarm/interop (test-interop), .adwarm/site (docs-build), .adwarm/bench
# (topology-test), .adwarm/tiny (test-smoke). Only the folders of npm are shared.
# All else is in temporary folders, and servers listen on free ports.
OTHERS = (
    Part(
        "test-slow",
        700,
        1.0,  # two processes, of which one often waits for others that its test has started
        own=(*PAGES, *(f"tests/{name}/*" for name in ("unit", "docs", "hostile", "smoke", "topology"))),
    ),
    Part("test-smoke", 160, 1.6, own=("tests/smoke/*",)),
    Part("test-dates", 40, 1.5, own=("tests/support/dates.py",), variables=("DATE=turn",)),
    Part("test-hostile", 250, 0.5, own=("tests/hostile/*",)),
    Part("test-interop", 300, 0.6, own=("tests/interop/*",)),
    Part("test-clients", 20, 0.8, own=CLIENTS, shares=("npm",)),
    Part("test-browser", 400, 0.5, own=("tests/browser/*", *CLIENTS), shares=("npm",)),
    Part("test-wheel", 240, 0.5, own=("tests/packaging/*", "README.md", "CHANGELOG.md")),
    Part("topology-test", 200, 1.3, own=("tests/topology/*",)),
    Part("test-docs", 450, 0.7, own=(*PAGES, "tests/docs/*")),  # it begins with `make demo`
    Part("docs-build", 8, 0.6, own=PAGES),
    Part("licences", 2, 0.4, own=("docs/reference/licences.md",)),
    Part("sbom", 7, 1.0),
)


@dataclass
class Run:
    """A part, and its result.

    Attributes:
        result: `passed`, `FAILED`, `skipped` or `not run`.
        seconds: by the wall clock.
        cpu_seconds: of all processes that it started and waited for.
    """

    part: Part
    result: str = "not run"
    seconds: float = 0.0
    cpu_seconds: float = 0.0

    @property
    def log(self) -> Path:
        """The file with its output."""
        return LOGS / f"{self.part.name}.log"


def list_changed_files(root: Path, base: str | None) -> list[str] | None:
    """Return the files that differ from what has landed, or None where that cannot be told, so that all parts run.

    Args:
        base: the commit to compare with; None for the last common one with origin/main, unless that is this commit.
    """

    def git(*words: str) -> str:
        command = ["git", "-C", str(root), "-c", "core.quotePath=false", *words]
        return subprocess.run(command, capture_output=True, text=True, check=True).stdout  # noqa: S603 -- fixed words

    try:
        if not base:
            base = git("merge-base", "origin/main", "HEAD").strip()
            if base == git("rev-parse", "HEAD").strip():
                return None
        changed = git("diff", "--name-only", "--no-renames", base)
        return [*changed.splitlines(), *git("ls-files", "--others", "--exclude-standard").splitlines()]
    except (OSError, subprocess.CalledProcessError):
        return None


def _matches(path: str, patterns: Sequence[str]) -> bool:
    return any(fnmatch.fnmatchcase(path, pattern) for pattern in patterns)


def is_reached(part: Part, changed: Sequence[str] | None) -> bool:
    """Return whether a change can change the result of a part: it owns one of the files, or no part owns one."""
    owned = {path for path in changed or () for other in OTHERS if _matches(path, other.own)}
    return changed is None or any(_matches(path, part.own) or path not in owned for path in changed)


def sort_parts(changed: Sequence[str] | None) -> list[Part]:
    """Return the parts after the first ones in the order in which they start: those that own a change, long ones."""
    return sorted(OTHERS, key=lambda part: (not any(_matches(path, part.own) for path in changed or ()), -part.seconds))


def choose_next(waiting: Sequence[Run], running: Sequence[Run], cores: float) -> Run | None:
    """Return the first run that has room beside those that are running; None when one of them must end first."""
    used = sum(run.part.cores for run in running)
    taken = {thing for run in running for thing in run.part.shares}
    for run in waiting:
        if not running or (used + run.part.cores <= cores * FULL and taken.isdisjoint(run.part.shares)):
            return run
    return None


def run_all(runs: Sequence[Run], cores: float) -> None:
    """Run parts beside each other and print the output of each when it ends; when interrupted, end all of them."""
    waiting, running = list(runs), dict[int, Run]()
    try:
        while waiting or running:
            while (run := choose_next(waiting, list(running.values()), cores)) is not None:
                waiting.remove(run)
                running[_start(run)] = run
            pid, status, usage = os.wait4(-1, 0)
            if pid in running:
                run = running.pop(pid)
                run.cpu_seconds = usage.ru_utime + usage.ru_stime
                _end(run, "FAILED" if os.waitstatus_to_exitcode(status) else "passed")
    finally:
        for pid, run in running.items():
            with contextlib.suppress(ProcessLookupError):
                os.killpg(pid, signal.SIGTERM)
            _end(run, "FAILED")


def _start(run: Run) -> int:
    command = ["make", "--no-print-directory", run.part.name, *run.part.variables]
    LOGS.mkdir(parents=True, exist_ok=True)
    with run.log.open("wb") as log:
        process = subprocess.Popen(  # noqa: S603 -- targets of the table
            command, cwd=ROOT, stdin=subprocess.DEVNULL, stdout=log, stderr=log, start_new_session=True
        )
    process.returncode = 0  # `os.wait4` waits for it, which counts its seconds, too
    run.seconds = -time.monotonic()
    print(f"== {time.strftime('%H:%M:%S')} started {run.part.name}", flush=True)
    return process.pid


def _end(run: Run, result: str) -> None:
    run.seconds += time.monotonic()
    run.result = result
    title = f"== {time.strftime('%H:%M:%S')} {run.part.name} {result} after {run.seconds:.0f} s"
    print(f"{title}\n{run.log.read_text(encoding='utf-8', errors='replace').rstrip()}\n", flush=True)


def list_failures(run: Run) -> list[str]:
    """Return what failed in a part: the errors and names of tests by pytest, or the end of its output without these."""
    lines = run.log.read_text(encoding="utf-8", errors="replace").splitlines()
    return [line for line in lines if line.startswith(("E  ", "FAILED ", "ERROR "))][-40:] or lines[-15:]


def format_table(runs: Sequence[Run]) -> Iterator[str]:
    """Yield the lines of the table: each part, its result, and its seconds."""
    yield f"{'part':<16}{'result':<10}{'seconds':>8}{'CPU seconds':>13}"
    for run in runs:
        yield f"{run.part.name:<16}{run.result:<10}{run.seconds:>8.0f}{run.cpu_seconds:>13.0f}"


def find_closing_line(log: Path) -> str:
    """Return the last line in which pytest counts its tests; empty when there is none."""
    lines = log.read_text(encoding="utf-8", errors="replace").splitlines() if log.is_file() else []
    return next((line for line in reversed(lines) if " passed" in line and " in " in line), "")


def main(names: Sequence[str]) -> int:
    """Run all parts, or those with these names, and return 0 if none has failed."""
    began, cores = time.monotonic(), float(os.cpu_count() or 1)
    signal.signal(signal.SIGTERM, lambda *_: sys.exit(143))
    changed = list_changed_files(ROOT, os.environ.get("CI_BASE"))
    runs = [Run(part) for part in (*FIRST, *sort_parts(changed)) if not names or part.name in names]
    if unknown := set(names) - {run.part.name for run in runs}:
        print(f"there is no part {', '.join(sorted(unknown))}; the parts are in dev/ci.py")
        return 2
    for run in runs:
        if not names and run.part not in FIRST and not is_reached(run.part, changed):
            run.result = "skipped"
    print("what has changed is not known: every part runs" if changed is None else f"{len(changed)} changed files")
    try:
        first = [run for run in runs if run.part in FIRST]
        run_all(first, cores)
        if all(run.result == "passed" for run in first):
            run_all([run for run in runs if run.result == "not run"], cores)
    finally:
        for run in runs:
            if run.result == "FAILED":
                print("\n".join([f"== {run.part.name}", *list_failures(run), ""]))
        print("\n".join(format_table(runs)))
        total = sum(run.cpu_seconds for run in runs)
        print(f"{'all':<26}{time.monotonic() - began:>8.0f}{total:>13.0f}")
        if any(run.part.name == "test" for run in runs):
            print(find_closing_line(LOGS / "test.log"), flush=True)
    return int(any(run.result not in {"passed", "skipped"} for run in runs))


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
