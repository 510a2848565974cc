"""A session: the mutants of a seed, run by some processes, one module at a time each."""

import json
import multiprocessing
import tomllib
from collections.abc import Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass
from hashlib import sha256
from itertools import repeat
from pathlib import Path

from tests.mutants.forks import ROOT, SOURCES, run_mutated, run_unchanged
from tests.mutants.sites import Mutant, sample

_FOLDER = Path(__file__).parent
_RESULTS = ROOT / ".adwarm/mutants"
_SELECT = "not postgresql"
"""The tests run once, on SQLite: the rules are the same on both databases."""
_MORE_SECONDS = 5.0
"""CPU time that a mutant may use beyond that of the unchanged run, imports included; a loop without end uses it up."""


@dataclass(frozen=True, slots=True)
class Target:
    """A module, the rule that it holds, and the tests that must notice a mutation."""

    rule: str
    module: str
    tests: tuple[str, ...]


@dataclass(frozen=True, slots=True)
class Result:
    """The outcome of a mutant: `killer` is the first test that failed, empty when none did."""

    mutant: Mutant
    killer: str
    reason: str


@dataclass(frozen=True, slots=True)
class Session:
    """The outcomes of the mutants of a seed."""

    seed: int
    results: tuple[Result, ...]
    targets: tuple[Target, ...]
    cpu_minutes: float

    @property
    def survivors(self) -> list[Result]:
        """Return the mutants that no test noticed."""
        return [result for result in self.results if not result.killer]

    @property
    def killed(self) -> int:
        """Return how many mutants a test noticed."""
        return len(self.results) - len(self.survivors)

    @property
    def share(self) -> float:
        """Return the share of mutants that a test noticed."""
        return self.killed / max(len(self.results), 1)


def load_targets() -> tuple[Target, ...]:
    """Return the targets of targets.toml."""
    listed = tomllib.loads((_FOLDER / "targets.toml").read_text(encoding="utf-8"))["targets"]
    return tuple(Target(each["rule"], each["module"], tuple(each["tests"])) for each in listed)


def load_reasons() -> dict[tuple[str, str, str, str], str]:
    """Return why a survivor is accepted, by `Mutant.key`."""
    listed = tomllib.loads((_FOLDER / "accepted.toml").read_text(encoding="utf-8")).get("accepted", [])
    return {
        (each["module"], each["function"], each["before"], after): each["reason"]
        for each in listed
        for after in each["after"]
    }


def run_session(targets: Sequence[Target], each: int, seed: int, workers: int) -> Session:
    """Draw `each` mutants of each target, and run them. What a session that was stopped has run is not run again."""
    results, seconds = list[Result](), 0.0
    context = multiprocessing.get_context("spawn")  # each starts without the project's modules
    with ProcessPoolExecutor(workers, mp_context=context) as pool:
        for of_target, spent in pool.map(run_target, targets, repeat(each), repeat(seed)):
            results, seconds = results + of_target, seconds + spent
    return Session(seed, tuple(results), tuple(targets), seconds / 60)


def run_target(target: Target, each: int, seed: int) -> tuple[list[Result], float]:
    """Return the outcomes of the mutants of a target, and the CPU seconds that they took."""
    mutants = sample(SOURCES, target.module, each, seed)
    file = _result_file(target, each, seed)
    if not file.is_file():
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(json.dumps(_run_mutants(target, mutants)), encoding="utf-8")
    killers, seconds = json.loads(file.read_text(encoding="utf-8"))
    reasons = load_reasons()
    results = [
        Result(mutant, killer, reasons.get(mutant.key, "")) for mutant, killer in zip(mutants, killers, strict=True)
    ]
    for result in results:
        if not result.killer:
            print(f"survived: {result.mutant}", flush=True)
    print(f"{target.module}: {sum(map(bool, killers))} of {len(killers)} killed, {seconds:.0f} CPU seconds", flush=True)
    return results, seconds


def _result_file(target: Target, each: int, seed: int) -> Path:
    """Return where the outcomes are kept; another module, other tests or another way to mutate have another file."""
    paths = [SOURCES / target.module, *(ROOT / name for name in target.tests), *sorted(_FOLDER.glob("*.py"))]
    digest = sha256(b"".join(path.read_bytes() for path in paths)).hexdigest()[:16]
    return _RESULTS / f"{target.module.replace('/', '.')}-{seed}-{each}-{digest}.json"


def _run_mutants(target: Target, mutants: Sequence[Mutant]) -> tuple[list[str], float]:
    unchanged = run_unchanged(target.tests, _SELECT)
    killers, seconds = [], unchanged.cpu_seconds
    for mutant in mutants:
        run = run_mutated(target.tests, _SELECT, mutant, unchanged.cpu_seconds + _MORE_SECONDS)
        killers, seconds = [*killers, run.killer], seconds + run.cpu_seconds
    return killers, seconds
