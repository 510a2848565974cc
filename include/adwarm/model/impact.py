"""Live impact: which accounts are held out in which weeks, and what their readers found."""

from dataclasses import dataclass
from datetime import date, datetime
from enum import StrEnum


@dataclass(frozen=True, slots=True)
class ImpactDesign:
    """How held-out units are drawn. It is stored when the measurement begins, and a change begins another one.

    Attributes:
        id: sequence number.
        since: when it began, UTC; weeks that began earlier do not count.
        share: share of the units that are held out, 0 to 1.
        salt: text that makes the draw differ from that of other installations.
        ended_at: when it was switched off or replaced, UTC; None while it runs.
    """

    id: int
    since: datetime
    share: float
    salt: str
    ended_at: datetime | None = None


class OpenSource(StrEnum):
    """Where the result of a first open comes from.

    `read_api`: the reads that `adwarm serve` counted. `log`: opens of the access log, each compared with the fetches.
    """

    READ_API = "read_api"
    LOG = "log"


@dataclass(frozen=True, slots=True, kw_only=True)
class ImpactUnit:
    """One account in one ISO week of its readers' zone.

    Attributes:
        account_id: the account.
        week: the Monday of the week.
        is_held_out: whether its predicted warms were withheld.
        first_opens: first opens of its reports.
        first_hits: those that found a fresh report.
        calls: upstream calls that its predicted warms took.
        withheld: warms that were planned and withheld.
        source: where the counts of opens come from.
    """

    account_id: str
    week: date
    is_held_out: bool
    first_opens: int
    first_hits: int
    calls: int
    withheld: int = 0
    source: OpenSource = OpenSource.LOG
