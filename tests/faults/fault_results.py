"""Collects what the proofs of this folder measured: one row per fault, in `.adwarm/faults/NAME.json`."""

import json
from collections.abc import Iterable
from dataclasses import asdict, dataclass

from tests.benchmarks.measure import RESULTS, save_results

FOLDER = RESULTS / "faults"
COLUMNS = ("fault", "times", "lost", "duplicated", "recovered in")


@dataclass(frozen=True, slots=True)
class FaultRow:
    """How often a fault was caused, and what it cost.

    Attributes:
        lost: keys, or bytes that were served wrong, as the fault says.
        duplicated: keys that were written or counted twice.
        recovered_in: the longest time until all was well again, for humans; `-` where it means nothing.
    """

    fault: str
    times: int
    lost: int
    duplicated: int
    recovered_in: str = "-"


def save_rows(name: str, rows: Iterable[FaultRow]) -> None:
    """Print the rows, and write them to `.adwarm/faults/NAME.json`."""
    saved = [asdict(row) for row in rows]
    for row in saved:
        print(*row.values(), sep=" | ")
    FOLDER.mkdir(parents=True, exist_ok=True)
    (FOLDER / f"{name}.json").write_text(json.dumps(saved, indent=2) + "\n", encoding="utf-8")


def load_rows() -> list[FaultRow]:
    """Return the rows of every file, in the order of the files' names."""
    paths = sorted(FOLDER.glob("*.json"))
    return [FaultRow(**row) for path in paths for row in json.loads(path.read_text(encoding="utf-8"))]


def format_table(rows: Iterable[FaultRow]) -> str:
    """Return the rows as a table in Markdown."""
    lines = [COLUMNS, ("---", "---:", "---:", "---:", "---:"), *(tuple(asdict(row).values()) for row in rows)]
    return "".join(f"| {' | '.join(str(cell) for cell in line)} |\n" for line in lines)


def save_table(rows: list[FaultRow]) -> None:
    """Write the rows as a result of `make faults`, and as a table in Markdown to `.adwarm/faults/table.md`."""
    save_results("faults", "What each fault cost", [asdict(row) for row in rows])
    (FOLDER / "table.md").write_text(format_table(rows), encoding="utf-8")
