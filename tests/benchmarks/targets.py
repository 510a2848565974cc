"""Checks benchmark results against targets: a table of those met and missed, and an exit code."""

from dataclasses import asdict, dataclass, field
from typing import Any

from tests.benchmarks.measure import exit_code, print_table, save_results


@dataclass
class TargetResult:
    """One target and its measured value.

    Attributes:
        what: what was measured.
        found: the value, as text.
        target: the target, as text.
        holds: whether it is met.
        is_limit: whether it is a bound of a figure, which a tiny run does not judge.
    """

    what: str
    found: str
    target: str
    holds: bool
    is_limit: bool = False


@dataclass
class TargetResults:
    """The targets of one benchmark."""

    name: str
    title: str
    results: list[TargetResult] = field(default_factory=list)

    def check_at_most(self, what: str, value: float, limit: float) -> None:
        """Check `value` against an upper limit."""
        found = f"{value:,.3f}".rstrip("0").rstrip(".") if value >= 0.1 else f"{value:.3g}"
        self.results.append(TargetResult(what, found, f"<= {limit:,g}", value <= limit, is_limit=True))

    def check_equal(self, what: str, value: Any, expected: Any) -> None:
        """Check that `value` equals `expected`."""
        self.results.append(TargetResult(what, str(value), f"= {expected}", value == expected))

    def finish(self, rows: list[dict[str, Any]], **more: Any) -> int:
        """Print and save the rows and the targets, save whatever more there is; return the exit code."""
        save_results(self.name, self.title, rows, verdicts=[asdict(result) for result in self.results], **more)
        targets = [
            {
                "what": result.what,
                "measured": result.found,
                "target": result.target,
                "": "met" if result.holds else "missed",
            }
            for result in self.results
        ]
        if targets:
            print_table("Targets", targets)
        is_right = all(result.holds for result in self.results if not result.is_limit)
        return exit_code(all(result.holds for result in self.results)) if is_right else 1
