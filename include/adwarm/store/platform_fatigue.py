"""The platform's own notices of fatigue, by account, ad and time. A notice that is stored never changes."""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from datetime import datetime
from typing import Any

from sqlalchemy import Connection, Engine, and_, func, select

from adwarm.model import PlatformNotice
from adwarm.store.database import insert_new, read_transaction, write_transaction
from adwarm.store.tables import platform_fatigue as table

_NoticeKey = tuple[str, datetime]
_TRANSACTION_NOTICES = 5_000


def insert_notices(engine: Engine, notices: Sequence[PlatformNotice], received_at: datetime) -> int:
    """Store the notices that are not stored yet, and return how many there were.

    Of several notices of an ad with the same time, the first one stays. So a notice that is delivered again changes
    nothing. Up to 5,000 notices are stored together; more go in several transactions, so that no other writer waits
    for long.
    """
    starts = range(0, len(notices), _TRANSACTION_NOTICES)
    return sum(_insert(engine, notices[start : start + _TRANSACTION_NOTICES], received_at) for start in starts)


def _insert(engine: Engine, notices: Sequence[PlatformNotice], received_at: datetime) -> int:
    by_account: dict[str, dict[_NoticeKey, PlatformNotice]] = defaultdict(dict)
    for notice in notices:
        by_account[notice.account_id].setdefault((notice.ad_id, notice.noticed_at), notice)
    stored = 0
    with write_transaction(engine) as connection:
        for account_id, given in sorted(by_account.items()):
            known = _find_keys(connection, account_id, [moment for _, moment in given])
            new = [notice for key, notice in given.items() if key not in known]
            insert_new(connection, table, [{**asdict(notice), "received_at": received_at} for notice in new])
            stored += len(new)
    return stored


def list_newest(
    engine: Engine, account_id: str, until: datetime | None = None, ad_ids: Sequence[str] | None = None
) -> dict[str, PlatformNotice]:
    """Return the newest notice of each ad of an account that has one.

    Args:
        engine: the database.
        account_id: `act_` and digits.
        until: only notices of this time or earlier count; all by default.
        ad_ids: only these ads, up to some hundreds; all by default.
    """
    matches = table.c.account_id == account_id
    if until is not None:
        matches = and_(matches, table.c.noticed_at <= until)
    if ad_ids is not None:
        matches = and_(matches, table.c.ad_id.in_(ad_ids))
    newest = select(table.c.ad_id, func.max(table.c.noticed_at).label("noticed_at")).where(matches)
    newest_by_ad = newest.group_by(table.c.ad_id).subquery()
    same = and_(
        table.c.account_id == account_id,
        table.c.ad_id == newest_by_ad.c.ad_id,
        table.c.noticed_at == newest_by_ad.c.noticed_at,
    )
    query = select(table).join(newest_by_ad, same).order_by(table.c.ad_id)
    with read_transaction(engine) as connection:
        rows = [_read(row) for row in connection.execute(query).mappings()]
    return {notice.ad_id: notice for notice in rows}


def list_since(engine: Engine, account_id: str, since: datetime) -> list[PlatformNotice]:
    """Return the notices of an account since a time, the oldest first."""
    query = select(table).where(table.c.account_id == account_id, table.c.noticed_at >= since)
    query = query.order_by(table.c.noticed_at, table.c.ad_id)
    with read_transaction(engine) as connection:
        return [_read(row) for row in connection.execute(query).mappings()]


def _find_keys(connection: Connection, account_id: str, moments: Sequence[datetime]) -> set[_NoticeKey]:
    query = select(table.c.ad_id, table.c.noticed_at).where(
        table.c.account_id == account_id, table.c.noticed_at.between(min(moments), max(moments))
    )
    return {(row.ad_id, row.noticed_at) for row in connection.execute(query)}


def _read(columns: Mapping[Any, Any]) -> PlatformNotice:
    return PlatformNotice(**{name: value for name, value in columns.items() if name != "received_at"})
