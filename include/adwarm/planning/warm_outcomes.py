"""Marks each warm as used or wasted, by the opens of its key while its entry was fresh.

Warms of a shadow plan are judged alike, as if each had been fetched at its warm time. One that falls into the life of
an earlier one of its key would have found it fresh, and is marked so: no call would have been made for it.
"""

from collections import defaultdict
from dataclasses import dataclass, replace
from datetime import datetime, timedelta

from sqlalchemy import Engine

from adwarm.model import Mode, ReportKey, Warm, WarmReason, WarmUse
from adwarm.patterns.load_slots import load_slots
from adwarm.patterns.open_history import find_log_end
from adwarm.store import ObjectStore, warms

FINAL_DATA_LIFETIME = timedelta(days=7)
"""A warm of figures that are final is judged after this long."""

TimeSpan = tuple[datetime, datetime]
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
    pending = [warm for warm in warms.list_unmarked(engine, now, mode) if warm.reason in judged]
    if not pending or known is None:
        return WarmOutcomes(0, 0, len(pending))
    covered: list[Warm] = []
    if mode is Mode.SHADOW:
        pending, covered = _simulate_fetches(pending, warms.get_shadow_expiries(engine, now))
    since = min((_start(warm) for warm in pending), default=now) - timedelta(minutes=15)
    opens = _opens(engine, objects, since, now)
    verdicts = [verdict for warm in pending if (verdict := _evaluate(warm, opens, now))]
    warms.mark_uses(engine, verdicts, [warm.id for warm in covered])
    used = sum(verdict.used for verdict in verdicts)
    return WarmOutcomes(used, len(verdicts) - used, len(pending) - len(verdicts))


def _simulate_fetches(found: list[Warm], fresh_until: dict[ReportKey, datetime]) -> tuple[list[Warm], list[Warm]]:
    """Return shadow warms as fetched at their warm time, and those that would have found their key fresh.

    Args:
        fresh_until: by key, the end of the life of the latest warm that was judged before.
    """
    made, covered = [], []
    for warm in sorted(found, key=lambda warm: (_start(warm), warm.id)):
        at = _start(warm)
        end = warm.expires_at or at + FINAL_DATA_LIFETIME
        if at < fresh_until.get(warm.key, at):
            covered.append(warm)
            continue
        fresh_until[warm.key] = end
        made.append(replace(warm, fetched_at=at, expires_at=end))
    return made, covered


def _opens(engine: Engine, objects: ObjectStore, since: datetime, until: datetime) -> dict[ReportKey, list[TimeSpan]]:
    slots = load_slots(engine, objects, since, until)
    found: dict[ReportKey, list[TimeSpan]] = defaultdict(list)
    columns = ["account_id", "date_range", "report", "first_ts", "last_ts"]
    for account, date_range, report, first, last in slots[columns].itertuples(index=False, name=None):
        found[ReportKey(str(account), str(date_range), str(report))].append((
            first.to_pydatetime(),
            last.to_pydatetime(),
        ))
    return found


def _evaluate(warm: Warm, opens: dict[ReportKey, list[TimeSpan]], now: datetime) -> WarmUse | None:
    fetched = _start(warm)
    expires = warm.expires_at or fetched + FINAL_DATA_LIFETIME
    spans = opens.get(warm.key, [])
    uses = [first if first >= fetched else last for first, last in spans if last >= fetched and first < expires]
    if uses:
        return WarmUse(warm.id, True, min(uses))
    return WarmUse(warm.id, False, None) if expires <= now else None


def _start(warm: Warm) -> datetime:
    """Return the moment from which a warm serves readers; a shadow warm counts as fetched at its warm time."""
    return warm.fetched_at or warm.warm_at or warm.decided_at
