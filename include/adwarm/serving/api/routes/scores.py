"""The route of fatigue scores, by account, ad and date."""

import base64
import binascii
from datetime import date
from typing import Annotated

import orjson
from fastapi import APIRouter, Query
from pydantic import BaseModel, Field

from adwarm.foundation.errors import BadRequest
from adwarm.model import FatigueStatus
from adwarm.serving.api.dependencies import AccountPath, ReadToken, Services
from adwarm.serving.api.models import Score, ScorePage
from adwarm.serving.api.responses import problems
from adwarm.serving.problems import unknown_report
from adwarm.serving.token_rights import check_account
from adwarm.store import accounts, scores
from adwarm.store.scores import ScorePosition, ScoreQuery, StoredScore

router = APIRouter(tags=["scores"])


class ScoreFilter(BaseModel):
    """The query of the score route."""

    as_of: date | None = Field(None, description="The newest scores up to this day; default: the newest.")
    ad_id: str | None = Field(None, max_length=40, pattern="^[0-9A-Za-z_-]+$", description="Only this ad.")
    status: FatigueStatus | None = Field(None, description="Only ads in this band.")
    limit: int = Field(100, ge=1, le=1_000, description="Scores on a page.")
    cursor: str | None = Field(None, max_length=400, description="`next_cursor` of the page before.")


@router.get(
    "/scores/{account}",
    summary="Fatigue scores of an account's ads",
    operation_id="list_scores",
    responses=problems(400, 404),
)
def list_scores(
    token: ReadToken, services: Services, account: AccountPath, query: Annotated[ScoreFilter, Query()]
) -> ScorePage:
    """The most fatigued ad first, pending ones last; all of one day. A page's `next_cursor` leads to the next."""
    account_id = check_account(token, account)
    engine = services.context.engine
    after = None if query.cursor is None else _decode_cursor(query.cursor)
    wanted = ScoreQuery(account_id, query.as_of, query.ad_id, query.status)
    found = scores.list_page(engine, wanted, query.limit + 1, after)
    if not found and accounts.get(engine, account_id) is None:
        raise unknown_report()
    page = found[: query.limit]
    return ScorePage(
        account=account_id,
        as_of=page[0].score.as_of if page else None,
        scores=[_score(item) for item in page],
        next_cursor=_encode_cursor(page[-1]) if len(found) > len(page) else None,
    )


def _score(item: StoredScore) -> Score:
    score = item.score
    return Score(
        ad_id=score.ad_id,
        ad_name=score.ad_name,
        status=score.status,
        total=score.total,
        creative=score.creative,
        audience=score.audience,
        algorithm=score.algorithm,
        data_quality=score.data_quality,
        trend_per_day=score.trend_per_day,
        days_to_critical=score.days_to_critical,
        flags=list(score.baseline.get("flags", ())),
        settled=item.settled,
        calculated_at=item.calculated_at,
    )


def _encode_cursor(item: StoredScore) -> str:
    position = [item.score.as_of.isoformat(), item.score.total, item.score.ad_id]
    return base64.urlsafe_b64encode(orjson.dumps(position)).decode().rstrip("=")


def _decode_cursor(cursor: str) -> ScorePosition:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        as_of, total, ad_id = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        position = ScorePosition(date.fromisoformat(as_of), None if total is None else float(total), str(ad_id))
    except (binascii.Error, ValueError, TypeError):
        raise BadRequest("cursor is not valid; send `next_cursor` of the page before, unchanged") from None
    if "\0" in position.ad_id:  # PostgreSQL takes none
        raise BadRequest("cursor is not valid; send `next_cursor` of the page before, unchanged")
    return position
