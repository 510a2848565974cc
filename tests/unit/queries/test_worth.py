"""What a week was worth: which warms count, the range around the waiting saved, and the sentence."""

from datetime import UTC, datetime, timedelta
from typing import Any

from sqlalchemy import Engine

from adwarm.model import CallCause, CauseKind
from adwarm.queries.worth import get_worth
from adwarm.store import read_traffic, warms, write_transaction
from adwarm.store.read_traffic import get_week_totals

NOW = datetime(2026, 11, 30, 3, tzinfo=UTC)
DAY = timedelta(days=1)


def _warm(seconds: float | None, **changes: Any) -> dict[str, Any]:
    at = NOW - 2 * DAY
    return {
        "run_id": "dag/run", "account_id": "act_1", "date_range": "last_7d", "reason": "predicted_open",
        "mode": "live", "status": "fetched", "decided_at": at, "warm_at": at, "fetched_at": at,
        "expires_at": at + DAY, "requests": 10, "used": True, "seconds": seconds, **changes,
    }  # fmt: skip


def test_used_warms_of_the_week_save_their_own_fetch(engine: Engine) -> None:
    """A fetch of two reports saves once; unused, shadow and older warms nothing; calls are those beyond readers'."""
    assert get_worth(engine, get_week_totals(engine, NOW), NOW) is None
    read_traffic.increment(engine, NOW - DAY, "act_1", "human", first_opens=20, first_hits=15)
    read_traffic.count_calls(engine, NOW - DAY, "act_1", CallCause(CauseKind.FORECAST), calls=100)
    read_traffic.count_calls(engine, NOW - DAY, "act_1", CallCause(CauseKind.READER), calls=7)
    unknown = get_worth(engine, get_week_totals(engine, NOW), NOW)
    assert str(unknown) == (
        "Last 7 days, until 2026-11-30 03:00 UTC: 20 first opens, 15 did not wait; the waiting saved is not known yet, "
        "for 100 more calls to the platform."
    )
    others = [
        _warm(500.0, used=False), _warm(500.0, used=None), _warm(500.0, mode="shadow", status="shadow"),
        _warm(500.0, decided_at=NOW - 9 * DAY), _warm(None),
    ]  # fmt: skip
    with write_transaction(engine) as connection:
        fetches = [_warm(seconds, run_id=f"dag/{seconds}") for seconds in (40.0, 60.0, 80.0)]
        second = _warm(80.0, run_id="dag/80.0", date_range="today", requests=0)
        connection.execute(warms.table.insert(), [*fetches, second, *others])
    worth = get_worth(engine, get_week_totals(engine, NOW), NOW)
    assert worth is not None
    assert (worth.opens, worth.hits, worth.saved, worth.calls) == (20, 15, 180.0, 100 - 4 * 10)
    assert round(worth.spread, 1) == round(1.645 * (2 * 3 * 400.0) ** 0.5, 1)
    assert "about 3 min of waiting saved (90% range: 2 min to 4 min), for 60 more calls" in str(worth)
