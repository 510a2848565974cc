"""Marks each warm as used or wasted, by the opens of its key while its entry was fresh.

Warms of a shadow plan are judged alike, as if each had been fetched at its warm time. One that falls into the life of
an earlier one of its key would have found it fresh, and is marked so: no call would have been made for it.
"""

from collections import defaultdict
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from adwarm.model import Mode, WarmReason
from adwarm.patterns.load_slots import load_slots
from adwarm.patterns.open_history import find_log_end
from adwarm.store import ObjectStore, warms

FINAL_DATA_LIFETIME = timedelta(days=7)
"""A warm of figures that are final is judged after this long."""

TimeSpan = tuple[datetime, datetime]
KeyTuple = tuple[str, ...]
_KEY = ("account_id", "date_range", "report")
_FETCHED = frozenset(WarmReason) - {WarmReason.DAY_CLOSED}
"""Reasons whose warms are meant for readers; a closed day is fetched for its score."""


@dataclass(frozen=True, slots=True)
class WarmOutcomes:
    """What an accounting settled."""

    used: int
    wasted: int
    open: int

    @property
    def efficiency(self) -> float | None:
        """Share of settled warms that somebody used before they expired."""
        settled = self.used + self.wasted
        return self.used / settled if settled else None


def mark_warm_outcomes(
    engine: Engine,
    objects: ObjectStore,
    now: datetime,
    known_until: datetime | None = None,
    *,
    mode: Mode = Mode.LIVE,
) -> WarmOutcomes:
    """Judge every fetched warm as far as the log has been read, and store the verdicts.

    A warm is used when its key was opened between its fetch and its expiry, wasted when it expired unopened. What the
    log says nothing about yet stays open: it is known up to `known_until`, by default as far as it was read.
    Before any log was read, nothing is known.

    Args:
        mode: shadow judges what the forecast's shadow plans would have warmed instead.
    """
    known = known_until or find_log_end(engine)
    now = min(now, known) if known else now
    judged = _FETCHED if mode is Mode.LIVE else {WarmReason.PREDICTED_OPEN}
    pending = [warm for warm in warms.list_unmarked(engine, now, mode) if warm["reason"] in judged]
    if not pending or known is None:
        return WarmOutcomes(0, 0, len(pending))
    covered: list[dict[str, Any]] = []
    if mode is Mode.SHADOW:
        pending, covered = _simulate_fetches(pending, warms.get_shadow_expiries(engine, now))
    since = min((warm["fetched_at"] for warm in pending), default=now) - timedelta(minutes=15)
    opens = _opens(engine, objects, since, now)
    verdicts = [verdict for warm in pending if (verdict := _evaluate(warm, opens, now))]
    warms.save_outcomes(engine, [*verdicts, *({"id": warm["id"], "status": "fresh"} for warm in covered)])
    used = sum(bool(verdict["used"]) for verdict in verdicts)
    return WarmOutcomes(used, len(verdicts) - used, len(pending) - len(verdicts))


def _simulate_fetches(
    found: list[dict[str, Any]], fresh_until: dict[KeyTuple, datetime]
) -> tuple[list[dict[str, Any]], list[dict[str, Any]]]:
    """Return shadow warms as fetched at their warm time, and those that would have found their key fresh.

    Args:
        fresh_until: by key, the end of the life of the latest warm that was judged before.
    """
    made, covered = [], []
    for warm in sorted(found, key=lambda warm: (warm["warm_at"], warm["id"])):
        key = tuple(warm[name] for name in _KEY)
        end = warm["expires_at"] or warm["warm_at"] + FINAL_DATA_LIFETIME
        if warm["warm_at"] < fresh_until.get(key, warm["warm_at"]):
            covered.append(warm)
            continue
        fresh_until[key] = end
        made.append({**warm, "fetched_at": warm["warm_at"], "expires_at": end})
    return made, covered


def _opens(engine: Engine, objects: ObjectStore, since: datetime, until: datetime) -> dict[KeyTuple, list[TimeSpan]]:
    slots = load_slots(engine, objects, since, until)
    found: dict[KeyTuple, list[TimeSpan]] = defaultdict(list)
    columns = ["account_id", "date_range", "report", "first_ts", "last_ts"]
    for account, date_range, report, first, last in slots[columns].itertuples(index=False, name=None):
        found[str(account), str(date_range), str(report)].append((first.to_pydatetime(), last.to_pydatetime()))
    return found


def _evaluate(warm: dict[str, Any], opens: dict[KeyTuple, list[TimeSpan]], now: datetime) -> dict[str, Any] | None:
    fetched = warm["fetched_at"]
    expires = warm["expires_at"] or fetched + FINAL_DATA_LIFETIME
    spans = opens.get((warm["account_id"], warm["date_range"], warm["report"]), [])
    uses = [first if first >= fetched else last for first, last in spans if last >= fetched and first < expires]
    if uses:
        return {"id": warm["id"], "used": True, "first_use": min(uses)}
    return {"id": warm["id"], "used": False, "first_use": None} if expires <= now else None
