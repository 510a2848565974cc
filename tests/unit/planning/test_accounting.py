"""A warm is used, wasted, or not yet known: as far as the log has been read, and no further."""

from datetime import UTC, datetime, timedelta
from pathlib import Path

from sqlalchemy import Engine

from adwarm.access_log import AccessLogWriter
from adwarm.model import ReportKey
from adwarm.patterns.ingest import ingest
from adwarm.planning.accounting import Accounts, settle_accounts
from adwarm.settings import Settings
from adwarm.store import ObjectStore, warms

AT = datetime(2026, 3, 2, 10, tzinfo=UTC)
HOUR = timedelta(hours=1)
MINUTE = timedelta(minutes=1)


def _read(engine: Engine, objects: ObjectStore, tmp_path: Path, until: datetime, *opens: tuple[str, datetime]) -> None:
    writer = AccessLogWriter(tmp_path / "log" / "a.jsonl")
    for account, at in opens:
        writer.append(at, ReportKey(account, "today"))
    ingest(engine, objects, Settings(access_log_url=str(tmp_path / "log")), until)


def _fetched(engine: Engine, *accounts: str, reason: str = "predicted_open", life: timedelta | None = 3 * HOUR) -> None:
    rows = [
        {"account_id": name, "date_range": "today", "reason": reason, "mode": "live", "decided_at": AT, "batch": 0,
         "status": "fetched", "fetched_at": AT, "expires_at": AT + life if life else None}
        for name in accounts
    ]  # fmt: skip
    warms.replace_plan(engine, f"dag/{reason}/{accounts}", rows)


def _verdicts(engine: Engine) -> dict[str, tuple[bool | None, datetime | None]]:
    rows = [row for run in ("predicted_open", "day_closed") for row in warms.planned_for(engine, run)]
    return {row["account_id"]: (row["used"], row["first_use"]) for row in rows}


def test_used_wasted_and_open(engine: Engine, objects: ObjectStore, tmp_path: Path) -> None:
    """Opened while fresh is used; expired unopened is wasted, an open before the fetch or after the end included."""
    _fetched(engine, "act_1", "act_2", "act_3", "act_4")
    _fetched(engine, "act_5", life=9 * HOUR)
    _read(
        engine, objects, tmp_path, AT + 5 * HOUR, ("act_1", AT + 90 * MINUTE), ("act_1", AT + 20 * MINUTE),
        ("act_2", AT - MINUTE), ("act_3", AT + 3 * HOUR), ("act_9", AT + 5 * HOUR - MINUTE),
    )  # fmt: skip
    found = settle_accounts(engine, objects, AT + 5 * HOUR)
    assert found == Accounts(used=1, wasted=3, open=1)
    assert found.efficiency == 0.25
    assert _verdicts(engine)["act_1"] == (True, AT + 20 * MINUTE)
    assert _verdicts(engine)["act_5"] == (None, None)


def test_what_the_log_does_not_tell_yet_stays_open(engine: Engine, objects: ObjectStore, tmp_path: Path) -> None:
    """Past its expiry, but beyond what was read, a warm is not called wasted; it is judged when the log is there."""
    _fetched(engine, "act_1")
    _read(engine, objects, tmp_path, AT + HOUR, ("act_9", AT + MINUTE))
    assert settle_accounts(engine, objects, AT + 9 * HOUR) == Accounts(0, 0, 1)
    assert settle_accounts(engine, objects, AT + 9 * HOUR, AT + 2 * HOUR) == Accounts(0, 0, 1)
    _read(engine, objects, tmp_path, AT + 9 * HOUR, ("act_1", AT + 2 * HOUR), ("act_9", AT + 9 * HOUR - MINUTE))
    assert settle_accounts(engine, objects, AT + 9 * HOUR) == Accounts(1, 0, 0)


def test_without_a_log_nothing_is_judged(engine: Engine, objects: ObjectStore) -> None:
    """Before the log was ever read no warm is called wasted."""
    _fetched(engine, "act_1")
    assert settle_accounts(engine, objects, AT + 99 * HOUR) == Accounts(0, 0, 1)
    assert _verdicts(engine) == {"act_1": (None, None)}


def test_a_verdict_is_final_and_closings_are_not_judged(engine: Engine, objects: ObjectStore, tmp_path: Path) -> None:
    """A judged warm is left alone, and a closed day is fetched for its score, not for an open."""
    _fetched(engine, "act_1")
    _fetched(engine, "act_2", reason="day_closed")
    _read(engine, objects, tmp_path, AT + 5 * HOUR, ("act_9", AT + 5 * HOUR - MINUTE))
    assert settle_accounts(engine, objects, AT + 5 * HOUR) == Accounts(0, 1, 0)
    assert settle_accounts(engine, objects, AT + 5 * HOUR) == Accounts(0, 0, 0)
    assert settle_accounts(engine, objects, AT + 5 * HOUR).efficiency is None


def test_final_figures_are_judged_after_a_week(engine: Engine, objects: ObjectStore, tmp_path: Path) -> None:
    """A warm that never expires is wasted when nobody came for a week."""
    _fetched(engine, "act_1", life=None)
    late = AT + timedelta(days=8)
    _read(engine, objects, tmp_path, late, ("act_9", late - MINUTE))
    assert settle_accounts(engine, objects, AT + timedelta(days=6)) == Accounts(0, 0, 1)
    assert settle_accounts(engine, objects, late) == Accounts(0, 1, 0)
