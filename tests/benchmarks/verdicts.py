"""Targets with their verdicts: a line each, PASS or FAIL, and an exit code."""

from dataclasses import asdict, dataclass, field
from typing import Any

from tests.benchmarks.measure import report


@dataclass
class Verdict:
    """One target: what was found, what it is held against, and whether it holds."""

    what: str
    found: str
    target: str
    holds: bool


@dataclass
class Verdicts:
    """The targets of one benchmark."""

    name: str
    title: str
    found: list[Verdict] = field(default_factory=list)

    def at_most(self, what: str, value: float, limit: float) -> None:
        """Hold `value` against an upper limit."""
        self.found.append(Verdict(what, f"{value:,.3f}".rstrip("0").rstrip("."), f"<= {limit:,g}", value <= limit))

    def equal(self, what: str, value: Any, wanted: Any) -> None:
        """Hold `value` against the one right value."""
        self.found.append(Verdict(what, str(value), f"= {wanted}", value == wanted))

    def conclude(self, rows: list[dict[str, Any]]) -> int:
        """Print the figures and a line per target, write them down, and return the exit code."""
        report(self.name, self.title, rows, verdicts=[asdict(verdict) for verdict in self.found])
        for verdict in self.found:
            print(f"{'PASS' if verdict.holds else 'FAIL'}  {verdict.what}: {verdict.found} (target {verdict.target})")
        return 0 if all(verdict.holds for verdict in self.found) else 1
