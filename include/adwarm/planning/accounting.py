"""Marks each warm as used or wasted, by the opens of its key while its entry was fresh."""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from adwarm.patterns.known import log_known_until
from adwarm.patterns.load import load_slots
from adwarm.store import ObjectStore, warms

NEVER_EXPIRES_AFTER = timedelta(days=7)
"""A warm of figures that are final is judged after this long."""

Span = tuple[datetime, datetime]


@dataclass(frozen=True, slots=True)
class Accounts:
    """What an accounting settled."""

    used: int
    wasted: int
    open: int

    @property
    def efficiency(self) -> float | None:
        """Share of settled warms that somebody used before they expired."""
        settled = self.used + self.wasted
        return self.used / settled if settled else None


def settle_accounts(
    engine: Engine, objects: ObjectStore, now: datetime, known_until: datetime | None = None
) -> Accounts:
    """Judge every fetched warm as far as the log has been read, and store the verdicts.

    A warm is used when its key was opened between its fetch and its expiry, wasted when it expired unopened. What the
    log says nothing about yet stays open: it is known up to `known_until`, by default as far as it was read.
    Before any log was read, nothing is known.
    """
    known = known_until or log_known_until(engine)
    now = min(now, known) if known else now
    pending = [warm for warm in warms.unaccounted(engine, now) if warm["reason"] != "day_closed"]
    if not pending or known is None:
        return Accounts(0, 0, len(pending))
    since = min(warm["fetched_at"] for warm in pending) - timedelta(minutes=15)
    opens = _opens(engine, objects, since, now)
    verdicts = [verdict for warm in pending if (verdict := _judge(warm, opens, now))]
    warms.record(engine, verdicts)
    used = sum(bool(verdict["used"]) for verdict in verdicts)
    return Accounts(used, len(verdicts) - used, len(pending) - len(verdicts))


def _opens(engine: Engine, objects: ObjectStore, since: datetime, until: datetime) -> dict[tuple[str, ...], list[Span]]:
    slots = load_slots(engine, objects, since, until)
    found: dict[tuple[str, ...], list[Span]] = defaultdict(list)
    columns = ["account_id", "date_range", "report", "first_ts", "last_ts"]
    for account, date_range, report, first, last in slots[columns].itertuples(index=False, name=None):
        found[str(account), str(date_range), str(report)].append((first.to_pydatetime(), last.to_pydatetime()))
    return found


def _judge(warm: dict[str, Any], opens: dict[tuple[str, ...], list[Span]], now: datetime) -> dict[str, Any] | None:
    fetched = warm["fetched_at"]
    expires = warm["expires_at"] or fetched + NEVER_EXPIRES_AFTER
    spans = opens.get((warm["account_id"], warm["date_range"], warm["report"]), [])
    uses = [first if first >= fetched else last for first, last in spans if last >= fetched and first < expires]
    if uses:
        return {"id": warm["id"], "used": True, "first_use": min(uses)}
    return {"id": warm["id"], "used": False, "first_use": None} if expires <= now else None
