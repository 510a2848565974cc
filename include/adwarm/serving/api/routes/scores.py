"""Routes of fatigue scores, and their documents.

Routes of fatigue scores: the ads of an account, what changed, and the summary of the account.

Every answer has a strong `ETag`; a request with that tag in `If-None-Match` is answered with 304 while nothing changed.
"""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from datetime import date, datetime, timedelta
from typing import Annotated, Any, Final

import orjson
from fastapi import APIRouter, Header, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel, Field
from sqlalchemy import Engine

from adwarm.fatigue.report import ChangeKind, describe_documents, list_changes
from adwarm.foundation.errors import BadRequest
from adwarm.model import AlarmLevel, Component, FatigueStatus
from adwarm.queries.fatigue_overview import sum_account
from adwarm.serving.api.errors import problems, text_header
from adwarm.serving.api.guard import AccountPath, ReadToken, Services
from adwarm.serving.api.models import Document
from adwarm.serving.http_headers import find_etag, make_etag
from adwarm.serving.problems import unknown_report
from adwarm.serving.services import ServingServices
from adwarm.serving.tokens import check_account
from adwarm.settings import FatigueSettings
from adwarm.store import accounts, creatives, scores
from adwarm.store.creatives import AdCreative
from adwarm.store.scores import ScorePosition, ScoreQuery, StoredScore

router = APIRouter(tags=["scores"])
_PAGE: Final = 100
_MAX_PAGE: Final = 1_000
_HEADERS: Final = {
    "ETag": text_header("Strong validator of this body."),
    "Cache-Control": text_header("Only the caller may keep the answer, and asks again before each use."),
}
_NOT_MODIFIED: Final[dict[str, Any]] = {"description": "The copy at hand is current.", "headers": _HEADERS}
_CURSOR_HINT: Final = "cursor is not valid; send `next_cursor` of the page before, unchanged"
IfNoneMatch = Annotated[
    str, Header(alias="If-None-Match", max_length=1_000, description="Validators of the copies at hand.")
]


class ShownCreative(Document):
    """What an ad shows, as the platform last named it."""

    id: str = Field(description="The platform's id of the creative.")
    title: str = Field(description="Its title, or else its name.")
    format: str = Field(description="What the platform calls its kind, such as `VIDEO`.")
    picture: str | None = Field(description="Path of a small picture on this server; null without one.")


class AdScore(Document):
    """What one ad lost, and its fatigue score: 0 is fresh, 100 is fatigued."""

    ad_id: str = Field(description="The platform's id of the ad; `creative-` and that of a creative.")
    ad_name: str = Field(description="Name of the ad; title of the creative.")
    part_of: str = Field(description="`ad_id` of the creative that this ad is listed under; empty for what is listed.")
    status: FatigueStatus = Field(
        description="Band of `loss`: warning from 0.15, critical from 0.35; `pending` while there is too little data."
    )
    loss: float | None = Field(
        description="Share of the clicks for the same money that is lost against good weeks; below 0 for a gain."
    )
    total: float | None = Field(description="Weighted mean of the available components, which explains the loss.")
    creative: float | None = Field(description="Component, 0 to 100.")
    audience: float | None = Field(description="Component, 0 to 100.")
    algorithm: float | None = Field(description="Component, 0 to 100.")
    driver: Component | None = Field(description="Component that raises the score most; null when none is high.")
    data_quality: float = Field(description="0 to 1: how far the score can be trusted.")
    trend_per_day: float | None = Field(description="Percentage points that `loss` grows by a day.")
    days_to_critical: float | None = Field(description="At that pace; 0 when critical, null when not heading there.")
    days_to_critical_low: float | None = Field(description="Lower end of its 80 % interval.")
    days_to_critical_high: float | None = Field(description="Upper end; null when it may never get there.")
    alarm: AlarmLevel = Field(
        description="`watch`: evidence of a decline of this ad; `alarm`: it also passes the account's limit."
    )
    alarm_since: date | None = Field(description="Day of the alarm, while it lasts.")
    onset: date | None = Field(description="Estimated first day of the decline.")
    cost_ratio: float | None = Field(description="Recent cost per result as a multiple of the ad's past.")
    recent_spend: float | None = Field(description="Spend of the last seven days, in the account's currency.")
    recommendation: str = Field(description="What to do, in words.")
    certainty: str = Field(
        description="How sure it is that the ad wears out, and on what evidence; empty without a score."
    )
    reasons: list[str] = Field(description="The figures behind it, in words, the strongest first.")
    note: str = Field(description="Why score and alarm differ; empty when they agree.")
    caution: str = Field(description="Why both may be wrong; empty when nothing speaks against them.")
    flags: list[str] = Field(description="Data that was missing, changed or looked wrong.")
    settled: bool = Field(description="Whether the data behind it can no longer change.")
    data_version: int = Field(description="Version of that data; grows with every restatement.")
    calculator_version: str = Field(description="Version of the calculation.")
    calculated_at: datetime = Field(description="When it was calculated.")
    ad_creative: ShownCreative | None = Field(None, description="What the ad shows; null when that was not read.")


class Score(AdScore):
    """What a creative lost in all ads that share it, or an ad that shares its creative with no other known one."""

    ads: list[AdScore] = Field(description="The ads of a creative, most spend times loss first; none for an ad itself.")


class ScorePage(Document):
    """One page of an account's scores of one day, by creative."""

    account: str = Field(description="Account id.")
    as_of: date | None = Field(description="Last day that the scores take into account; null when there are none.")
    scores: list[Score] = Field(description="The scores.")
    next_cursor: str | None = Field(None, description="`cursor` of the next page; null on the last one.")


class ScoreChange(Document):
    """What happened to one creative, or to an ad that stands for itself, between two days."""

    kind: ChangeKind = Field(
        description="`alarm`: a new one; `worse`, `better`: another status; `recovered`: an alarm ended; `pending`, "
        "`scored`: data ran out or came back; `new`, `gone`: the ad began or ended."
    )
    ad_id: str = Field(description="The platform's id of the ad.")
    ad_name: str = Field(description="Name of the ad.")
    text: str = Field(description="The change in words.")
    status: FatigueStatus | None = Field(description="On the later day; null for an ad that is gone.")
    status_before: FatigueStatus | None = Field(description="On the earlier day; null for a new ad.")
    loss: float | None = Field(description="Share of the clicks for the same money lost on the later day.")
    loss_before: float | None = Field(description="The same on the earlier day.")
    total: float | None = Field(description="Score on the later day.")
    total_before: float | None = Field(description="Score on the earlier day.")
    alarm: AlarmLevel = Field(description="On the later day.")
    alarm_before: AlarmLevel = Field(description="On the earlier day.")
    restated: bool = Field(
        description="Whether the score of the earlier day was calculated with or after that of the later day, by a "
        "backfill or from newer data; it may not be what was shown then."
    )


class ScoreChanges(Document):
    """What happened to the creatives of an account between two scored days: alarms first, then by kind."""

    account: str = Field(description="Account id.")
    since: date | None = Field(description="The earlier day; null when there are no scores to compare with.")
    as_of: date | None = Field(description="The later day; null when there are no scores.")
    changes: list[ScoreChange] = Field(description="The changes.")


class StatusCounts(Document):
    """Number of creatives by status."""

    healthy: int = Field(description="Less than 15 % of the clicks for the same money lost.")
    warning: int = Field(description="From 15 % on.")
    critical: int = Field(description="From 35 % on.")
    pending: int = Field(description="Too little data.")


class ScoreSummary(Document):
    """The creatives of an account on one day; an ad may stand for itself. Fatigued is what is critical or in alarm."""

    account: str = Field(description="Account id.")
    as_of: date | None = Field(description="Last day that the scores take into account; null when there are none.")
    currency: str | None = Field(description="Currency of the amounts.")
    creatives: int = Field(description="Number of creatives, and of ads that stand for themselves.")
    statuses: StatusCounts = Field(description="Creatives by status.")
    alarms: int = Field(description="Creatives with an alarm.")
    watches: int = Field(description="Creatives with evidence that is not enough for an alarm.")
    fatigued: int = Field(description="Creatives that are critical or have an alarm.")
    score: float | None = Field(
        description="Mean score weighted by recent spend; without spend the plain mean; null without a score."
    )
    recent_spend: float | None = Field(description="Spend of the last seven days; null when unknown.")
    fatigued_spend: float | None = Field(description="That of the fatigued creatives.")
    fatigued_share: float | None = Field(description="Its share of the spend, 0 to 1.")
    unknown_spend: int = Field(description="Creatives whose recent spend is unknown.")
    settled: bool = Field(description="Whether the data behind the scores can no longer change.")


class ScoreFilter(BaseModel):
    """The query of the score route."""

    as_of: date | None = Field(None, description="The newest scores up to this day; default: the newest.")
    ad_id: str | None = Field(None, max_length=80, pattern="^[0-9A-Za-z_-]+$", description="Only this ad or creative.")
    status: FatigueStatus | None = Field(None, description="Only creatives in this band.")
    alarm: AlarmLevel | None = Field(None, description="Only creatives whose alarm is on this level.")
    limit: int = Field(_PAGE, ge=1, le=_MAX_PAGE, description="Scores on a page.")
    cursor: str | None = Field(None, max_length=400, description="`next_cursor` of the page before.")


class ChangeFilter(BaseModel):
    """The query of the change route."""

    since: date | None = Field(
        None, description="Compare with the newest scores up to this day; default: the scored day before."
    )
    as_of: date | None = Field(None, description="The later day: the newest scores up to this day.")


class SummaryFilter(BaseModel):
    """The query of the summary route."""

    as_of: date | None = Field(None, description="The newest scores up to this day; default: the newest.")


@router.get(
    "/scores/{account}",
    summary="Fatigue scores of an account's creatives",
    operation_id="list_scores",
    response_model=ScorePage,
    responses={
        200: {"headers": _HEADERS},
        304: _NOT_MODIFIED,
        **problems(400, 404),
    },
)
def list_scores(
    token: ReadToken,
    services: Services,
    account: AccountPath,
    query: Annotated[ScoreFilter, Query()],
    if_none_match: IfNoneMatch = "",
) -> Response:
    """Creatives with their ads, most spend times loss first, pending ones last; all of one day.

    A page's `next_cursor` leads to the next.
    """
    account_id = check_account(services.context, token, account)
    page, cursor = _read_page(services, account_id, query)
    document = ScorePage(
        account=account_id,
        as_of=page[0].score.as_of if page else None,
        scores=_describe(page, services.context.settings.fatigue, services.context.engine),
        next_cursor=cursor,
    )
    return _respond_json(document, if_none_match)


@router.get(
    "/scores/{account}/pictures/{name}",
    summary="The picture of a creative",
    operation_id="get_picture",
    response_class=Response,
    responses={200: {"content": {"image/*": {"schema": {"type": "string", "format": "binary"}}}}, **problems(400, 404)},
)
def get_picture(
    token: ReadToken,
    services: Services,
    account: AccountPath,
    name: Annotated[str, Path(max_length=80, description="The end of `picture` of a creative.")],
) -> Response:
    """What an ad of the account shows: at most 160 by 160, PNG, JPEG, GIF or WebP. It never changes under its name."""
    data, media_type = creatives.read_picture(services.context, name, check_account(services.context, token, account))
    return Response(data, 200, {"Cache-Control": "private, max-age=31536000, immutable"}, media_type)


@router.get(
    "/scores/{account}/changes",
    summary="What changed in the fatigue scores of an account",
    operation_id="list_score_changes",
    response_model=ScoreChanges,
    responses={200: {"headers": _HEADERS}, 304: _NOT_MODIFIED, **problems(400, 404)},
)
def list_score_changes(
    token: ReadToken,
    services: Services,
    account: AccountPath,
    query: Annotated[ChangeFilter, Query()],
    if_none_match: IfNoneMatch = "",
) -> Response:
    """New alarms, statuses that got worse or better, alarms that ended, what began or ended."""
    account_id = check_account(services.context, token, account)
    engine = services.context.engine
    _check_known(engine, account_id)
    day = scores.find_newest_day(engine, account_id, query.as_of)
    if day is not None and query.since is not None and query.since >= day:
        raise BadRequest(f"since must be before {day}, the day of the scores; leave it out for the scored day before")
    until = None if day is None else query.since or day - timedelta(days=1)
    since = None if until is None else scores.find_newest_day(engine, account_id, until)
    ad_changes = []
    if day is not None and since is not None:
        ad_changes = list_changes(*(scores.list_day(engine, account_id, each) for each in (since, day)))
    changes = [ScoreChange(**change.to_dict()) for change in ad_changes]
    return _respond_json(ScoreChanges(account=account_id, since=since, as_of=day, changes=changes), if_none_match)


@router.get(
    "/scores/{account}/summary",
    summary="Fatigue of an account",
    operation_id="get_score_summary",
    response_model=ScoreSummary,
    responses={200: {"headers": _HEADERS}, 304: _NOT_MODIFIED, **problems(400, 404)},
)
def get_score_summary(
    token: ReadToken,
    services: Services,
    account: AccountPath,
    query: Annotated[SummaryFilter, Query()],
    if_none_match: IfNoneMatch = "",
) -> Response:
    """Its score weighted by spend, the share of spend in fatigued creatives, creatives by status, and alarms."""
    account_id = check_account(services.context, token, account)
    engine = services.context.engine
    stored = accounts.get(engine, account_id)
    if stored is None:
        raise unknown_report()
    day = scores.find_newest_day(engine, account_id, query.as_of)
    document = ScoreSummary(
        account=account_id,
        as_of=day,
        currency=stored.currency or None,
        settled=day is not None and scores.is_settled(engine, account_id, day),
        **sum_account(engine, account_id, query.as_of).to_dict(),
    )
    return _respond_json(document, if_none_match)


def _read_page(services: ServingServices, account_id: str, query: ScoreFilter) -> tuple[list[StoredScore], str | None]:
    """Return a page of scores, and the cursor of the next one."""
    engine = services.context.engine
    after = None if query.cursor is None else _decode_cursor(account_id, query.cursor)
    score_query = ScoreQuery(
        account_id=account_id,
        as_of=query.as_of,
        ad_id=query.ad_id,
        status=query.status,
        alarm=query.alarm,
    )
    _check_known(engine, account_id)
    rows = scores.list_page(engine, score_query, query.limit + 1, after)
    page = rows[: query.limit]
    return page, _encode_cursor(page[-1]) if len(rows) > len(page) else None


def _check_known(engine: Engine, account_id: str) -> None:
    if accounts.get(engine, account_id) is None:
        raise unknown_report()


def _describe(page: Sequence[StoredScore], settings: FatigueSettings, engine: Engine) -> list[Score]:
    documents = describe_documents(engine, page, settings)
    everything = [each for item in documents for each in (item, *item["ads"])]
    shown = creatives.get_many(engine, [(item["account_id"], item["ad_id"]) for item in everything])
    for item in everything:
        creative = shown.get((item["account_id"], item["ad_id"]))
        item["ad_creative"] = None if creative is None else _describe_creative(creative, item["account_id"])
    for item in documents:
        item["ads"] = [AdScore(**{name: ad[name] for name in AdScore.model_fields}) for ad in item["ads"]]
    return [Score(**{name: item[name] for name in Score.model_fields}) for item in documents]


def _describe_creative(item: AdCreative, account_id: str) -> ShownCreative | None:
    """Return what an ad shows; None when the platform named nothing."""
    if not item.creative_id:
        return None
    picture = f"/v1/scores/{account_id}/pictures/{item.picture}" if item.picture else None
    return ShownCreative(id=item.creative_id, title=item.title, format=item.format, picture=picture)


def _respond_json(document: Document, if_none_match: str) -> Response:
    """Return the document with its validator, or 304 when the caller has the same."""
    body = document.model_dump_json().encode()
    digest = hashlib.sha256(body).hexdigest()
    shared = {"Cache-Control": "private, no-cache", "Vary": "Authorization"}
    tag = find_etag(if_none_match or None, digest, "json")
    if tag is not None:
        return Response(status_code=304, headers={**shared, "ETag": tag})
    return Response(body, 200, {**shared, "ETag": make_etag(digest, "identity", "json")}, "application/json")


def _encode_cursor(item: StoredScore) -> str:
    score = item.score
    position = [score.as_of.isoformat(), *score.rank[:2], score.ad_id]
    return base64.urlsafe_b64encode(orjson.dumps(position)).decode().rstrip("=")


def _decode_cursor(account_id: str, cursor: str) -> ScorePosition:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        as_of, lost, loss, ad_id = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        position = ScorePosition(date.fromisoformat(as_of), (float(lost), float(loss), account_id, str(ad_id)))
    except (binascii.Error, ValueError, TypeError, OverflowError):
        raise BadRequest(_CURSOR_HINT) from None
    if "\0" in ad_id:  # PostgreSQL takes no zero bytes
        raise BadRequest(_CURSOR_HINT)
    return position
