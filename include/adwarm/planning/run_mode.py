"""Whether a run makes calls: the one place that combines its parameters, its kind and the switches.

| run                                                          | mode      | planned warms                            |
|--------------------------------------------------------------|-----------|------------------------------------------|
| a backfilled run that names no decision time                 | `shadow`  | stored as a shadow plan                  |
| any, while the switch `shadow` is on                         | `shadow`  | stored as a shadow plan                  |
| any other                                                    | as asked  | carried out                              |
| a live run while the switch `warming` is off                 | `live`    | stored as cut, with the switch as reason |
"""

from sqlalchemy import Engine

from adwarm.foundation.errors import Refused
from adwarm.model import Mode
from adwarm.planning.recommendation import Recommendation
from adwarm.store.switches import Switch, find_stop, list_switches

RETRY_SECONDS = 900.0
"""When a run that warming refused tries again."""


def resolve_mode(engine: Engine, requested: Mode, *, is_backfill: bool = False) -> Mode:
    """Return the mode of a run.

    Args:
        engine: the database, which holds the switches.
        requested: what its parameters ask for.
        is_backfill: whether it replays the past, where a plan is only compared with what happened.
    """
    is_shadow = is_backfill or list_switches(engine)[Switch.SHADOW].is_on
    return Mode.SHADOW if is_shadow else requested


def require_warming(engine: Engine) -> None:
    """Check that planned warms may be fetched.

    Raises:
        Refused: warming is switched off; the message says since when, by whom and why.
    """
    if why := find_stop(engine):
        name = why.partition(" ")[0]
        raise Refused(f"{why}; `adwarm gate switch {name} on` turns it on", retry_after=RETRY_SECONDS)


def cut_all(recommendations: list[Recommendation], why: str) -> list[Recommendation]:
    """Return the recommendations as cut, with the switch as the reason."""
    return [item.with_status("cut", f"not warmed: {why}") for item in recommendations]
