"""The shared budget's part of status: limits, what is parked since when and why, and the breakers."""

from collections.abc import Sequence
from typing import TYPE_CHECKING

from adwarm.cli.output import print_table

if TYPE_CHECKING:
    from adwarm.backpressure import AdmissionStatus, ScopeStatus

MAX_ROWS = 20


def print_limits(budget: "AdmissionStatus") -> None:
    """Print the scopes that many share or in use, what is parked, and the breakers: an account's if not closed."""
    busy = [scope for scope in budget.scopes if scope.in_flight or _is_shared(scope)]
    print_table(
        f"Limits{_truncation_note(busy)}",
        ("scope", "limit", "in flight", "pace", "% used", "tokens"),
        [(s.scope, s.limit, s.in_flight, s.pace, s.usage, s.tokens) for s in busy[:MAX_ROWS]],
        "nothing was called yet",
    )
    parked = sorted(budget.parked, key=lambda scope: (not _is_shared(scope), scope.parked_until))
    print_table(
        f"Parked{_truncation_note(parked)}",
        ("scope", "since", "until", "why"),
        [(s.scope, s.parked_since, s.parked_until, s.parked_why) for s in parked[:MAX_ROWS]],
        "nothing; every scope may be called",
    )
    breakers = [found for found in budget.breakers if found.account is None or found.why is not None]
    print_table(
        f"Breakers{_truncation_note(breakers)}",
        ("source", "account", "state", "since", "tested next", "failed", "calls", "why"),
        [
            (b.source, b.account, b.state, b.since, b.probe_at, b.error_rate, b.calls, b.why)
            for b in breakers[:MAX_ROWS]
        ],
        "none has seen a call",
    )


def _is_shared(scope: "ScopeStatus") -> bool:
    """Whether a scope is wider than one account; idle accounts would hide the rest."""
    return not scope.scope.startswith("account:")


def _truncation_note(rows: Sequence[object]) -> str:
    return f": the first {MAX_ROWS} of {len(rows):,}; --json tells all" if len(rows) > MAX_ROWS else ""
