"""Which ads were alerted when, so that none is alerted twice for the same."""

from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import date, datetime

from sqlalchemy import Connection, Date, Index, Integer, String, Table, select

from adwarm.store.columns import UtcDateTime, from_row, key_column, metadata, to_row, value_column
from adwarm.store.database import insert_new, upsert

# Grows with ads that got worse. Maintenance deletes old rows.
table = Table(
    "fatigue_alert",
    metadata,
    key_column("account_id", String(24)),
    key_column("ad_id", String(64)),
    value_column("as_of", Date),
    value_column("level", Integer),
    value_column("alerted_at", UtcDateTime()),
    Index(None, "alerted_at"),
)


_NEVER = date(1, 1, 1)


@dataclass(frozen=True, slots=True)
class AdAlert:
    """What an ad was last alerted for.

    Attributes:
        level: 1 is warning, 2 critical, 3 alarm.
    """

    ad_id: str
    as_of: date
    level: int
    alerted_at: datetime | None


def lock(connection: Connection, account_id: str, ad_ids: Collection[str], now: datetime) -> dict[str, AdAlert]:
    """Lock the rows of ads until the transaction ends, create those that are missing, and return all by ad."""
    ids = sorted(ad_ids)
    new = {"account_id": account_id, "as_of": _NEVER, "level": 0, "alerted_at": now}
    insert_new(connection, table, [{**new, "ad_id": ad_id} for ad_id in ids])
    query = select(table).where(table.c.account_id == account_id, table.c.ad_id.in_(ids)).order_by(table.c.ad_id)
    rows = connection.execute(query.with_for_update())
    return {row.ad_id: from_row(AdAlert, row, alerted_at=row.alerted_at if row.level else None) for row in rows}


def save(connection: Connection, account_id: str, alerts: Sequence[AdAlert]) -> None:
    """Store what ads of an account are alerted for, within the transaction that opens the alert."""
    upsert(connection, table, [{"account_id": account_id, **to_row(item)} for item in alerts])
