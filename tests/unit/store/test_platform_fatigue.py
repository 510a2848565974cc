"""Notices of the platform: stored once, read newest first."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from sqlalchemy import Engine, func, select

from adwarm.model import PlatformNotice
from adwarm.store import platform_fatigue
from adwarm.store.database import read_transaction
from adwarm.store.tables import platform_fatigue as table

AT = datetime(2026, 11, 20, 9, 0, tzinfo=UTC)
NOTICE = PlatformNotice("act_1", "7", AT, "medium", "äé wears out", "webhook")


def _count(engine: Engine) -> int:
    with read_transaction(engine) as connection:
        return connection.execute(select(func.count()).select_from(table)).scalar_one()


def test_a_notice_survives_the_table(engine: Engine) -> None:
    """Every value comes back, a missing message as None."""
    bare = replace(NOTICE, ad_id="8", message=None, origin="file")
    assert platform_fatigue.insert_notices(engine, [NOTICE, bare], AT) == 2
    assert platform_fatigue.list_newest(engine, "act_1") == {"7": NOTICE, "8": bare}


def test_the_same_notice_is_stored_once(engine: Engine) -> None:
    """A notice that comes again, alone, twice in one batch or with another text, changes nothing."""
    assert platform_fatigue.insert_notices(engine, [NOTICE, NOTICE], AT) == 1
    changed = replace(NOTICE, level="high", message="another")
    later = replace(NOTICE, noticed_at=AT + timedelta(seconds=1))
    assert platform_fatigue.insert_notices(engine, [changed, later], AT + timedelta(days=1)) == 1
    assert platform_fatigue.list_since(engine, "act_1", AT) == [NOTICE, later]
    assert platform_fatigue.insert_notices(engine, [], AT) == 0


def test_large_batches(engine: Engine) -> None:
    """Thousands of notices of several accounts are stored over several transactions, and none of them twice."""
    notices = [
        PlatformNotice(f"act_{number % 3}", str(number), AT + timedelta(minutes=number), "low")
        for number in range(6_000)
    ]
    assert platform_fatigue.insert_notices(engine, notices, AT) == 6_000
    assert platform_fatigue.insert_notices(engine, notices[::-1], AT) == 0
    assert _count(engine) == 6_000


def test_the_newest_notice_of_each_ad(engine: Engine) -> None:
    """The newest one counts, by a time and of some ads if asked; other accounts never do."""
    high = replace(NOTICE, noticed_at=AT + timedelta(days=3), level="high")
    other = replace(NOTICE, ad_id="8")
    foreign = replace(NOTICE, account_id="act_2", noticed_at=AT + timedelta(days=9))
    platform_fatigue.insert_notices(engine, [high, NOTICE, other, foreign], AT)
    assert platform_fatigue.list_newest(engine, "act_1") == {"7": high, "8": other}
    assert platform_fatigue.list_newest(engine, "act_1", AT + timedelta(days=2))["7"] == NOTICE
    assert platform_fatigue.list_newest(engine, "act_1", AT - timedelta(days=1)) == {}
    assert platform_fatigue.list_newest(engine, "act_1", ad_ids=["8", "9"]) == {"8": other}
    assert platform_fatigue.list_since(engine, "act_1", AT + timedelta(days=1)) == [high]
