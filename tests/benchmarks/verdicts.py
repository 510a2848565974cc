"""Targets with their verdicts: a line each, PASS or FAIL, and an exit code."""

from dataclasses import asdict, dataclass, field
from typing import Any

from tests.benchmarks.measure import save_results


@dataclass
class TargetResult:
    """One target: what was found, what it is held against, and whether it holds."""

    what: str
    found: str
    target: str
    holds: bool


@dataclass
class TargetResults:
    """The targets of one benchmark."""

    name: str
    title: str
    results: list[TargetResult] = field(default_factory=list)

    def check_at_most(self, what: str, value: float, limit: float) -> None:
        """Hold `value` against an upper limit."""
        self.results.append(
            TargetResult(what, f"{value:,.3f}".rstrip("0").rstrip("."), f"<= {limit:,g}", value <= limit)
        )

    def check_equal(self, what: str, value: Any, expected: Any) -> None:
        """Hold `value` against the one right value."""
        self.results.append(TargetResult(what, str(value), f"= {expected}", value == expected))

    def finish(self, rows: list[dict[str, Any]]) -> int:
        """Print the figures and a line per target, write them down, and return the exit code."""
        save_results(self.name, self.title, rows, verdicts=[asdict(verdict) for verdict in self.results])
        for verdict in self.results:
            print(f"{'PASS' if verdict.holds else 'FAIL'}  {verdict.what}: {verdict.found} (target {verdict.target})")
        return 0 if all(verdict.holds for verdict in self.results) else 1
