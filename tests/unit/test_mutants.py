"""The mutants that `make mutants` draws, and the reasons for those that survive."""

from pathlib import Path

from tests.mutants.forks import ROOT, SOURCES
from tests.mutants.session import load_reasons, load_targets
from tests.mutants.sites import sample

MODULE = '''"""A module."""
from dataclasses import dataclass
Name = str | None
LIMIT, BYTES = 5, 100_000


@dataclass(frozen=True)
class Rule:
    least: int | None = 3


def decide(value: int | None, *, most: int = LIMIT) -> bool:
    if value is None:
        raise ValueError(f"{1 + 1} and {value}")
    log.info("%s", 1 + 1)
    return value >= most
'''


def test_only_what_decides_is_mutated(tmp_path: Path) -> None:
    """Numbers, conditions and comparisons; no type, text, logging or size."""
    (tmp_path / "rule.py").write_text(MODULE)
    drawn = [mutant for seed in range(16) for mutant in sample(tmp_path, "rule.py", 99, seed)]
    found = {(mutant.function, mutant.before, mutant.after) for mutant in drawn}

    assert {after.replace(" ", "") for function, _, after in found if not function} == {
        "LIMIT,BYTES=6,100_000",
        "LIMIT,BYTES=4,100_000",
    }
    assert {after.split()[-1] for function, _, after in found if function == "Rule"} == {"2", "4"}
    decided = {after for function, _, after in found if function == "decide"}
    assert decided == {
        "if not value is None:",
        "if value is not None:",
        *(f"return value {comparison} most" for comparison in ("==", "!=", "<", "<=", ">")),
    }


def test_the_seed_decides_which_are_drawn() -> None:
    """The same seed draws the same mutants, another one others; each is another module that compiles."""
    first, again, other = (sample(SOURCES, "model/keys.py", 8, seed) for seed in (1, 1, 2))

    assert [mutant.key for mutant in first] == [mutant.key for mutant in again]
    assert {mutant.key for mutant in first} != {mutant.key for mutant in other}
    source = (SOURCES / "model/keys.py").read_text()
    for mutant in first:
        compile(mutant.code, mutant.path, "exec")
        assert mutant.code != source


def test_targets_and_reasons_are_up_to_date() -> None:
    """Every module and test file exists, and an accepted survivor is one of code that is still there."""
    for target in load_targets():
        assert (SOURCES / target.module).is_file()
        assert all((ROOT / name).is_file() for name in target.tests)
    for path, _, before, _ in load_reasons():
        assert before in " ".join(map(str.strip, (SOURCES / path).read_text().splitlines()))
