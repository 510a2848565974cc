"""The route that shows what was verified and what is damaged."""

from dataclasses import asdict
from datetime import timedelta
from typing import Annotated

from fastapi import APIRouter, Query
from pydantic import BaseModel, ConfigDict, Field

from adwarm.model import AccessToken, TokenScope
from adwarm.serving.api.dependencies import ReadToken, Services
from adwarm.serving.api.errors import problems
from adwarm.serving.api.models import DamagedData, IntegrityKind, IntegrityPage
from adwarm.store import integrity_days, quarantine

_MAX_ITEMS = 100
router = APIRouter(tags=["state"], responses=problems())


class IntegrityFilter(BaseModel):
    """The query of the statistics of integrity."""

    model_config = ConfigDict(extra="forbid")

    days: int = Field(7, ge=1, le=366, description="UTC days to count, with today.")


@router.get("/integrity", summary="What was verified", operation_id="get_integrity", responses=problems(400))
def get_integrity(token: ReadToken, services: Services, query: Annotated[IntegrityFilter, Query()]) -> IntegrityPage:
    """Counts by kind of data, and damaged data of the accounts that the token may read."""
    engine = services.context.engine
    totals = integrity_days.get_totals(engine, services.clock.now() - timedelta(days=query.days - 1))
    shown = [found.item for found in quarantine.list_open(engine, _MAX_ITEMS) if _may_see(token, found.item.account_id)]
    return IntegrityPage(
        since=totals.since,
        last_full_pass=totals.pass_ended,
        kinds=[IntegrityKind(kind=kind, **asdict(counts)) for kind, counts in totals.kinds.items()],
        open=[
            DamagedData(kind=item.kind, account_id=item.account_id, found_at=item.found_at, reason=item.reason)
            for item in shown
        ],
    )


def _may_see(token: AccessToken, account_id: str | None) -> bool:
    """Whether a token may see damage: that of its accounts, and that of shared data unless it is limited to some."""
    if account_id is None:
        return token.accounts is None or TokenScope.ADMIN in token.scopes
    return token.may_read(account_id)
