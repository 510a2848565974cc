"""The SQL of the page of one ad."""

from typing import Final

from sqlalchemy import Engine, select

from adwarm.store import read_transaction
from adwarm.store.scores import StoredScore, read_score
from adwarm.store.tables import fatigue_score

HISTORY_DAYS: Final = 90


def list_history(engine: Engine, account_id: str, ad_id: str) -> list[StoredScore]:
    """Return the newest scores of one ad, at most one for each of `HISTORY_DAYS` days, oldest first."""
    query = (
        select(fatigue_score)
        .where(fatigue_score.c.account_id == account_id, fatigue_score.c.ad_id == ad_id)
        .order_by(fatigue_score.c.as_of.desc())
        .limit(HISTORY_DAYS)
    )
    with read_transaction(engine) as connection:
        return [read_score(row) for row in connection.execute(query).mappings()][::-1]
