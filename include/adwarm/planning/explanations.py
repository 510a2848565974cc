"""The sentences that explain to users why a key is warmed or not."""

from datetime import datetime
from typing import NamedTuple

from adwarm.planning.price import WarmCost

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")


class Evidence(NamedTuple):
    """How often a key was opened in one hour of its readers' week.

    Attributes:
        opens: weeks with an open in that hour.
        weeks: weeks looked at.
        hour_of_week: 0 (Monday 00:00) to 167, in `time_zone`.
        time_zone: the readers' zone.
    """

    opens: int
    weeks: int
    hour_of_week: int
    time_zone: str

    @property
    def hour(self) -> str:
        """The hour as text, such as `09:00 and 10:00 (Europe/Rome)`."""
        start = self.hour_of_week % 24
        return f"{start:02d}:00 and {(start + 1) % 24:02d}:00 ({self.time_zone})"


def explain_opens(evidence: Evidence) -> str:
    """Return a clause such as "opened in 7 of the last 8 Mondays between 09:00 and 10:00 (Europe/Rome)"."""
    day = _DAYS[evidence.hour_of_week // 24 % 7]
    if evidence.opens and evidence.weeks > 1:
        return f"opened in {evidence.opens} of the last {evidence.weeks} {day}s between {evidence.hour}"
    if evidence.opens:
        return f"opened on the one {day} in the log, between {evidence.hour}"
    if evidence.weeks:
        weeks = f"{evidence.weeks} {day}{'s' if evidence.weeks > 1 else ''}"
        return f"not yet opened in {weeks} between {evidence.hour}, but in nearby hours or by similar reports"
    return f"too new to have a history on {day}s; similar reports are opened between {evidence.hour}"


def explain_chance(confidence: float, until: datetime | None) -> str:
    """Return the probability of an open, and until when it counts."""
    odds = f"{confidence:.0%} likely to be opened"
    return odds if until is None else f"{odds} before the fetched entry expires at {until:%Y-%m-%d %H:%M} UTC"


def explain_price(cost: WarmCost) -> str:
    """Return what a warm costs and why, such as "0.33 calls at 1.20 each, its share of ..."."""
    if not cost.calls:
        return "no further call: the days it needs are stored"
    if cost.sharing_keys == 1:
        return f"{_calls(cost.calls)} at {cost.price_per_call:.2f} each"
    calls = f"{_calls(cost.calls)} at {cost.price_per_call:.2f} each"
    return f"{calls}, its share of the requests of {cost.sharing_keys} reports"


def explain_cut(cost: WarmCost, benefit: float, limit: str) -> str:
    """Return why the budget rejects a warm.

    Args:
        cost: what the warm would cost.
        benefit: what it is worth, in calls.
        limit: the limit that decides, such as `600 calls of all accounts`.
    """
    used = f"cut by the budget: {cost.used} of the {limit} in this hour are used or promised"
    if cost.price >= benefit:
        return f"{used}, so it would cost {cost.price:.2f}, more than the {benefit:.2f} it is worth"
    return f"{used}, and the rest go to warms that gain more per call"


def _calls(count: float) -> str:
    return "1 call" if count == 1 else f"{count:.3g} calls"
