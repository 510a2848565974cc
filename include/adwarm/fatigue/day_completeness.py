"""Whether a day is complete and scored for every active account.

An account's day is complete when it is stored as it was after the day had ended in the account's data zone, and no
later change of it is known that is still to be fetched. It is scored when it has scores as of the day, or had no
delivery in the days that scores look back on. Closed and denied accounts do not count.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, datetime, timedelta

from adwarm.fetch_plan import HISTORY_DAYS
from adwarm.foundation.local_time import local_midnight
from adwarm.foundation.wording import format_part, format_some
from adwarm.model import Account, Window
from adwarm.store import Context, accounts, partitions, scores
from adwarm.store.partitions import PartitionState

_ACCOUNTS_PER_QUERY = 200


@dataclass(frozen=True, slots=True)
class DayCompleteness:
    """How far a day has come.

    Attributes:
        accounts: active accounts.
        complete: those whose day is complete and scored.
        waiting: ids of the others.
    """

    day: date
    accounts: int
    complete: int
    waiting: tuple[str, ...] = ()

    @property
    def is_complete(self) -> bool:
        """Whether there are active accounts, and each is complete and scored."""
        return self.accounts > 0 and self.complete == self.accounts

    def to_dict(self) -> dict[str, object]:
        """Return JSON values without the ids."""
        return {"day": self.day.isoformat(), "accounts": self.accounts, "complete": self.complete}

    def __str__(self) -> str:
        text = f"{self.day}: {format_part(self.complete, self.accounts, 'active account')} complete and scored"
        return f"{text}; still waiting: {format_some(self.waiting, 3)}" if self.waiting else text


def check_day(context: Context, day: date, now: datetime) -> DayCompleteness:
    """Return how many active accounts have `day` complete and scored at `now`."""
    active = [item for item in accounts.list_as_of(context.engine, now).values() if item.status == "active"]
    groups = (active[start : start + _ACCOUNTS_PER_QUERY] for start in range(0, len(active), _ACCOUNTS_PER_QUERY))
    waiting = sorted(item.id for group in groups for item in _list_waiting(context, group, day, now))
    return DayCompleteness(day, len(active), len(active) - len(waiting), tuple(waiting))


def _list_waiting(context: Context, group: Sequence[Account], day: date, now: datetime) -> list[Account]:
    """Return the accounts of `group` whose day is not complete or not scored."""
    settings = context.settings
    ids = [item.id for item in group]
    history = Window(day - timedelta(days=HISTORY_DAYS - 1), day)
    stored = partitions.list_states_by_account(context.engine, ids, settings.spec("default").hash, history)
    scored = scores.list_scored_accounts(context.engine, ids, day)
    waiting = []
    for account in group:
        days = stored.get(account.id, {})
        ended = local_midnight(day + timedelta(days=1), account.data_zone)
        is_stored = ended <= now and _is_complete(days.get(day), ended)
        had_rows = any(state.rows for state in days.values())
        if not is_stored or (had_rows and account.id not in scored):
            waiting.append(account)
    return waiting


def _is_complete(state: PartitionState | None, ended: datetime) -> bool:
    return state is not None and state.complete and state.fetched_at >= ended and not state.is_restated
