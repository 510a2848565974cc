"""Strategies: which reports to keep warm regardless of the forecast."""

from dataclasses import dataclass

from adwarm.foundation.errors import BadRequest
from adwarm.model.enums import Priority

_SYNONYMS = {"medium": "normal"}
_MINIMUMS = {"batch_size": 1, "delay_seconds": 0, "max_parallel_batches": 1, "max_calls_per_hour": 1}


@dataclass(frozen=True, slots=True)
class Strategy:
    """Date ranges of some accounts that are kept warm on a schedule, and how fast that may go.

    Attributes:
        name: shown to users; the key of the stored row.
        date_ranges: presets or `YYYY-MM-DD..YYYY-MM-DD`.
        report: name of the report.
        enabled: False keeps the row but plans nothing.
        priority: critical, high, normal (or medium) or low.
        accounts: account ids; None means every account in the store.
        excluded_accounts: account ids to leave out.
        batch_size: keys fetched before the next pause.
        delay_seconds: pause between batches.
        max_parallel_batches: batches that run at the same time.
        max_calls_per_hour: upstream calls that the strategy may make in an hour.

    Raises:
        BadRequest: no date range, a number below its minimum, or an unknown priority.
    """

    name: str
    date_ranges: tuple[str, ...]
    report: str = "default"
    enabled: bool = True
    priority: str = "low"
    accounts: tuple[str, ...] | None = None
    excluded_accounts: tuple[str, ...] = ()
    batch_size: int = 5
    delay_seconds: float = 5.0
    max_parallel_batches: int = 2
    max_calls_per_hour: int = 100

    def __post_init__(self) -> None:
        if not self.date_ranges:
            raise BadRequest(f"strategy {self.name!r} names no date range; give at least one, such as yesterday")
        for name, minimum in _MINIMUMS.items():
            if getattr(self, name) < minimum:
                raise BadRequest(f"strategy {self.name!r}: {name} must be at least {minimum}")
        _parse_priority(self.priority)

    @property
    def urgency(self) -> Priority:
        """The priority of the strategy's fetches."""
        return _parse_priority(self.priority)


def _parse_priority(text: str) -> Priority:
    try:
        return Priority.parse(_SYNONYMS.get(text.strip().lower(), text))
    except ValueError as error:
        raise BadRequest(str(error)) from None
