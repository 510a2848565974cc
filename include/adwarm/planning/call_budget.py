"""The hourly budget of upstream calls: what is left, and which warms get it."""

from collections.abc import Iterable

from adwarm.planning.explanations import BUDGET_CUT
from adwarm.planning.recommendation import Recommendation
from adwarm.settings import Settings


def get_calls_left(settings: Settings, spent_this_hour: int, *, cap: int | None = None) -> int:
    """Return the calls left in the current hour, at least 0.

    Args:
        settings: `planning.max_calls_per_hour` is the limit.
        spent_this_hour: requests that warms have made since the hour began.
        cap: a lower limit, such as a strategy's own `max_calls_per_hour`.
    """
    limit = settings.planning.max_calls_per_hour
    return max(0, (limit if cap is None else min(limit, cap)) - max(0, spent_this_hour))


def split_by_budget(
    candidates: Iterable[Recommendation], calls: int
) -> tuple[list[Recommendation], list[Recommendation]]:
    """Return the candidates that fit into `calls` upstream calls, best benefit per call first, and those that do not.

    Each candidate that does not fit says why.
    """
    planned: list[Recommendation] = []
    cut: list[Recommendation] = []
    left = float(max(0, calls))
    for rank, candidate in enumerate(sorted(candidates, key=lambda item: item.sort_key), start=1):
        if candidate.calls <= left:
            left -= candidate.calls
            planned.append(candidate)
        else:
            why = (
                f"{BUDGET_CUT}: {max(0, calls)} upstream calls were left this hour and it came {_nth(rank)} by "
                f"benefit per call"
            )
            cut.append(candidate.with_status("cut", why))
    return planned, cut


def _nth(rank: int) -> str:
    ending = "th" if rank % 100 in {11, 12, 13} else {1: "st", 2: "nd", 3: "rd"}.get(rank % 10, "th")
    return f"{rank}{ending}"
