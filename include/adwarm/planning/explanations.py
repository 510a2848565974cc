"""The sentences that explain to users why a key is warmed or not."""

import math
from dataclasses import dataclass
from datetime import datetime
from typing import NamedTuple

_DAYS = ("Monday", "Tuesday", "Wednesday", "Thursday", "Friday", "Saturday", "Sunday")
_CLOSE = 0.1
"""A probability this close to the share of weeks with an open needs no reason of its own."""
_WHOLE_HOUR = 0.99
_MAX_DIGITS = 6


class Evidence(NamedTuple):
    """How often a key was opened in one hour of its readers' week.

    Attributes:
        hour_of_week: 0 (Monday 00:00) to 167, in `time_zone`.
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


@dataclass(frozen=True)
class Chance:
    """How likely a key is opened, as the forecast states it.

    Attributes:
        in_hour: probability of an open in the slot that the key is warmed for.
        hour_share: the part of the whole hour that the slot covers, above 0 and at most 1.
        in_lifetime: probability of an open from the start of the slot to `until`.
        until: when the fetched entry expires; None when it outlives the forecast of a day.
    """

    in_hour: float
    hour_share: float
    in_lifetime: float
    until: datetime | None

    @property
    def in_whole_hour(self) -> float:
        """The probability for the whole hour, of which the slot may be a part."""
        none: float = (1.0 - min(self.in_hour, 1.0)) ** (1.0 / self.hour_share)
        return 1.0 - none


class WarmCost(NamedTuple):
    """What a key costs; see `adwarm.planning.price`."""

    calls: float
    price_per_call: float
    sharing_keys: int
    used: int
    is_account_limit: bool

    @property
    def price(self) -> float:
        """The key's share of the price of its step."""
        return self.calls * self.price_per_call


def explain_opens(evidence: Evidence) -> str:
    """Return a clause such as "opened in 7 of the last 8 Mondays between 09:00 and 10:00 (Europe/Rome)"."""
    day = _DAYS[evidence.hour_of_week // 24 % 7]
    if evidence.weeks > 1:
        count = f"opened in {evidence.opens} of" if evidence.opens else "not opened in"
        return f"{count} the last {evidence.weeks} {day}s between {evidence.hour}"
    if evidence.weeks:
        return f"{'' if evidence.opens else 'not '}opened on the one {day} observed, between {evidence.hour}"
    return f"not yet observed on a {day} between {evidence.hour}"


def explain_warm(evidence: Evidence, chance: Chance) -> str:
    """Return the sentence that says why a key is likely to be opened.

    It names the record of the hour, the probability of the same hour, and that of the entry's whole lifetime, each with
    what it covers. When the probability of the hour is far from the record, it says what else the forecast weighs.
    """
    hour = "in that hour" if chance.hour_share > _WHOLE_HOUR else "in the part of that hour that is left"
    in_hour = f"{explain_opens(evidence)}; {format_percent(chance.in_hour)} likely {hour}{_reason(evidence, chance)}"
    if chance.until is None:
        return f"{in_hour}, {format_percent(chance.in_lifetime)} within a day; the fetched entry lasts longer"
    until = f"before the fetched entry expires at {chance.until:%Y-%m-%d %H:%M} UTC"
    return f"{in_hour}, {format_percent(chance.in_lifetime)} {until}"


def _reason(evidence: Evidence, chance: Chance) -> str:
    """Return why the probability of the hour is far from the share of weeks with an open; empty when it is not."""
    if not evidence.weeks:
        return " by the record of other hours and reports"
    if abs(evidence.opens / evidence.weeks - chance.in_whole_hour) <= _CLOSE:
        return ""
    return " (the forecast also weighs how recent its opens are, other hours and similar reports)"


def format_percent(probability: float) -> str:
    """Return a probability in percent, near 1 with a decimal; only 0 reads as "0%", and only 1 as "100%"."""
    if 0.0 < probability < 0.005:
        return "under 1%"
    if 0.985 <= probability < 1.0:
        return f"{probability:.1%}" if probability < 0.9995 else "over 99.9%"
    return f"{probability:.0%}"


def format_amount(value: float, digits: int = 2) -> str:
    """Return a number with two decimals, or with more when it takes them to show `digits` significant digits."""
    exponent = math.floor(math.log10(abs(value))) if value else 0
    return f"{value:,.{max(2, digits - 1 - exponent)}f}"


def explain_price(cost: WarmCost) -> str:
    """Return what a warm costs and why, such as "0.33 calls at 1.20 each, its share of ..."."""
    if not cost.calls:
        return "no further call: the days it needs are stored"
    calls = f"{_calls(cost.calls)} at {format_amount(cost.price_per_call)} each"
    return calls if cost.sharing_keys == 1 else f"{calls}, its share of the requests of {cost.sharing_keys} reports"


def explain_cut(cost: WarmCost, benefit: float, limit: str) -> str:
    """Return why the budget rejects a warm.

    Args:
        benefit: what it is worth, in calls.
        limit: the limit that decides, such as `600 calls of all accounts`.
    """
    used = f"{cost.used} of the {limit} in this hour are used or promised"
    if cost.price > benefit:
        price, worth = _format_apart(cost.price, benefit)
        return f"{used}, so it would cost {price}, more than the {worth} it is worth"
    if cost.price == benefit:
        return f"{used}, so it would cost {format_amount(benefit)}, as much as it is worth"
    return f"{used}, and the rest go to warms that gain more per call"


def _calls(count: float) -> str:
    return "1 call" if count == 1 else f"{count:.3g} calls"


def _format_apart(first: float, second: float) -> tuple[str, str]:
    """Return both numbers with as many digits as it takes to tell them apart, up to six."""
    for digits in range(2, _MAX_DIGITS):
        texts = format_amount(first, digits), format_amount(second, digits)
        if texts[0] != texts[1]:
            return texts
    return format_amount(first, _MAX_DIGITS), format_amount(second, _MAX_DIGITS)
