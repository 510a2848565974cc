"""What the scores of an account said about each ad, day by day: band, total and alarm."""

from dataclasses import dataclass
from datetime import date

from sqlalchemy import Engine, select

from adwarm.model import AlarmLevel, FatigueStatus
from adwarm.store.database import read_transaction
from adwarm.store.tables import fatigue_score as table


@dataclass(frozen=True, slots=True)
class ScoreSignal:
    """What the score of an ad and a day said; see `FatigueScore`."""

    ad_id: str
    as_of: date
    status: FatigueStatus
    total: float | None
    alarm: AlarmLevel


def list_signals(engine: Engine, account_id: str, since: date) -> list[ScoreSignal]:
    """Return what the scores of an account said since a day, by ad and day."""
    columns = (table.c.ad_id, table.c.as_of, table.c.status, table.c.total, table.c.alarm)
    query = select(*columns).where(table.c.account_id == account_id, table.c.as_of >= since)
    with read_transaction(engine) as connection:
        return [ScoreSignal(*row) for row in connection.execute(query.order_by(table.c.ad_id, table.c.as_of))]
