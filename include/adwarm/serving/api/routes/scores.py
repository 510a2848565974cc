"""Routes of fatigue scores: the ads of an account, what changed, and the summary of the account.

Every answer has a strong `ETag`; a request with that tag in `If-None-Match` is answered with 304 while nothing changed.
"""

import base64
import binascii
import hashlib
from collections.abc import Sequence
from datetime import date, timedelta
from typing import Annotated, Any, Final
from urllib.parse import urlencode

import orjson
from fastapi import APIRouter, Header, Query
from fastapi.responses import Response
from pydantic import BaseModel, Field
from sqlalchemy import Engine

from adwarm.fatigue.recommendation import find_outcomes
from adwarm.fatigue.report import describe_document, format_scores_csv, list_changes, summarize
from adwarm.foundation.errors import BadRequest
from adwarm.model import AlarmLevel, FatigueStatus
from adwarm.serving.api.dependencies import AccountPath, ReadToken, Services
from adwarm.serving.api.errors import problems, text_header
from adwarm.serving.api.models import Document
from adwarm.serving.api.score_models import (
    Score,
    ScoreChange,
    ScoreChanges,
    ScoreFormat,
    ScorePage,
    ScoreSummary,
    StatusCounts,
)
from adwarm.serving.http_headers import find_etag, make_etag
from adwarm.serving.problems import unknown_report
from adwarm.serving.services import ServingServices
from adwarm.serving.tokens import check_account
from adwarm.settings import FatigueSettings
from adwarm.store import accounts, scores
from adwarm.store.scores import STATUSES, ScoreOrder, ScorePosition, ScoreQuery, StoredScore

router = APIRouter(tags=["scores"])
_JSON, _CSV = "application/json", "text/csv; charset=utf-8"
_PAGE: Final = 100
_MAX_PAGE: Final = 1_000
_MAX_CSV: Final = 50_000
"""Rows of a CSV answer without `limit`; a longer list goes on at the `Link`."""
_HEADERS: Final = {
    "ETag": text_header("Strong validator of this body."),
    "Cache-Control": text_header("Only the caller may keep the answer, and asks again before each use."),
}
_LINK: Final = {"Link": text_header('RFC 8288: `rel="next"` is the next page of the same form.')}
_NOT_MODIFIED: Final[dict[str, Any]] = {"description": "The copy at hand is current.", "headers": _HEADERS}
_CURSOR_HINT: Final = "cursor is not valid; send `next_cursor` of the page before, unchanged"


class ScoreFilter(BaseModel):
    """The query of the score route."""

    as_of: date | None = Field(None, description="The newest scores up to this day; default: the newest.")
    ad_id: str | None = Field(None, max_length=64, pattern="^[0-9A-Za-z_-]+$", description="Only this ad.")
    status: FatigueStatus | None = Field(None, description="Only ads in this band.")
    alarm: AlarmLevel | None = Field(None, description="Only ads whose alarm is on this level.")
    order: ScoreOrder = Field(
        "total", description="`total`: the most fatigued ad first; `action`: alarms before that, then watched ads."
    )
    limit: int | None = Field(
        None, ge=1, le=_MAX_PAGE, description=f"Scores on a page; default: {_PAGE}, in CSV up to {_MAX_CSV:,}."
    )
    cursor: str | None = Field(None, max_length=400, description="`next_cursor` of the page before.")
    format: ScoreFormat | None = Field(None, description="Form of the answer; default: the one that `Accept` names.")


class ChangeFilter(BaseModel):
    """The query of the change route."""

    since: date | None = Field(
        None, description="Compare with the newest scores up to this day; default: the scored day before."
    )
    as_of: date | None = Field(None, description="The later day: the newest scores up to this day.")


class SummaryFilter(BaseModel):
    """The query of the summary route."""

    as_of: date | None = Field(None, description="The newest scores up to this day; default: the newest.")


IfNoneMatch = Annotated[
    str, Header(alias="If-None-Match", max_length=1_000, description="Validators of the copies at hand.")
]


@router.get(
    "/scores/{account}",
    summary="Fatigue scores of an account's ads",
    operation_id="list_scores",
    response_model=ScorePage,
    responses={
        200: {"content": {"text/csv": {"schema": {"type": "string"}}}, "headers": {**_HEADERS, **_LINK}},
        304: _NOT_MODIFIED,
        **problems(400, 404),
    },
)
def list_scores(
    token: ReadToken,
    services: Services,
    account: AccountPath,
    query: Annotated[ScoreFilter, Query()],
    accept: Annotated[str, Header(alias="Accept", max_length=400, description="JSON, or `text/csv`.")] = "",
    if_none_match: IfNoneMatch = "",
) -> Response:
    """The most fatigued ad first, pending ones last; all of one day. A page's `next_cursor` leads to the next.

    In CSV a text that a spreadsheet would take for a formula has an apostrophe in front, and `Link` leads on.
    """
    account_id = check_account(token, account)
    is_csv = (query.format or _format_by_type(accept)) == "csv"
    limit = query.limit or (_MAX_CSV if is_csv else _PAGE)
    page, cursor = _read_page(services, account_id, query, limit)
    settings = services.context.settings.fatigue
    if is_csv:
        headers = {} if cursor is None else {"Link": f'<{_next_target(account_id, query, cursor)}>; rel="next"'}
        return _respond(format_scores_csv(page, settings).encode(), _CSV, if_none_match, headers)
    document = ScorePage(
        account=account_id,
        as_of=page[0].score.as_of if page else None,
        scores=_describe(page, settings, services.context.engine),
        next_cursor=cursor,
    )
    return _respond_json(document, if_none_match)


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
    """New alarms, statuses that got worse or better, alarms that ended, ads that began or ended."""
    account_id = check_account(token, account)
    engine = services.context.engine
    _check_known(engine, account_id)
    day = scores.find_newest_day(engine, account_id, query.as_of)
    if day is not None and query.since is not None and query.since >= day:
        raise BadRequest(f"since must be before {day}, the day of the scores; leave it out for the scored day before")
    until = None if day is None else query.since or day - timedelta(days=1)
    since = None if until is None else scores.find_newest_day(engine, account_id, until)
    found = []
    if day is not None and since is not None:
        found = list_changes(*(scores.list_day(engine, account_id, each) for each in (since, day)))
    changes = [ScoreChange(**change.to_dict()) for change in found]
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
    """Its score weighted by spend, the share of spend in fatigued ads, ads by status, and alarms."""
    account_id = check_account(token, account)
    engine = services.context.engine
    stored = accounts.get(engine, account_id)
    if stored is None:
        raise unknown_report()
    day = scores.find_newest_day(engine, account_id, query.as_of)
    currency = stored.currency or None
    if day is None:
        document = _empty_summary(account_id, currency)
    else:
        values = summarize(scores.list_day(engine, account_id, day)).to_dict()
        document = ScoreSummary(account=values.pop("account_id"), currency=currency, **values)
    return _respond_json(document, if_none_match)


def _empty_summary(account_id: str, currency: str | None) -> ScoreSummary:
    empty = dict.fromkeys(("score", "recent_spend", "fatigued_spend", "fatigued_share"))
    counts = dict.fromkeys(("ads", "alarms", "watches", "fatigued", "unknown_spend"), 0)
    statuses = StatusCounts(**dict.fromkeys(STATUSES, 0))
    return ScoreSummary(
        account=account_id, as_of=None, currency=currency, statuses=statuses, settled=False, **empty, **counts
    )


def _read_page(
    services: ServingServices, account_id: str, query: ScoreFilter, limit: int
) -> tuple[list[StoredScore], str | None]:
    """Return a page of scores, and the cursor of the next one.

    Raises:
        Problem: 404, there is no such account.
    """
    engine = services.context.engine
    after = None if query.cursor is None else _decode_cursor(query.cursor)
    wanted = ScoreQuery(
        account_id=account_id,
        as_of=query.as_of,
        ad_id=query.ad_id,
        status=query.status,
        alarm=query.alarm,
        order=query.order,
    )
    _check_known(engine, account_id)
    found = scores.list_page(engine, wanted, limit + 1, after)
    page = found[:limit]
    return page, _encode_cursor(page[-1]) if len(found) > len(page) else None


def _check_known(engine: Engine, account_id: str) -> None:
    if accounts.get(engine, account_id) is None:
        raise unknown_report()


def _describe(page: Sequence[StoredScore], settings: FatigueSettings, engine: Engine) -> list[Score]:
    outcomes = find_outcomes(engine)
    documents = (describe_document(item, settings, outcomes) for item in page)
    return [Score(**{name: values[name] for name in Score.model_fields}) for values in documents]


def _respond_json(document: Document, if_none_match: str) -> Response:
    return _respond(document.model_dump_json().encode(), _JSON, if_none_match)


def _respond(body: bytes, content_type: str, if_none_match: str, headers: dict[str, str] | None = None) -> Response:
    """Return the body with its validator, or 304 when the caller has the same."""
    shape = "csv" if content_type == _CSV else "json"
    digest = hashlib.sha256(body).hexdigest()
    shared = {"Cache-Control": "private, no-cache", "Vary": "Authorization, Accept", **(headers or {})}
    tag = find_etag(if_none_match or None, digest, shape)
    if tag is not None:
        return Response(status_code=304, headers={**shared, "ETag": tag})
    return Response(body, 200, {**shared, "ETag": make_etag(digest, "identity", shape)}, content_type)


def _format_by_type(accept: str) -> ScoreFormat:
    """Return `csv` when `Accept` gives `text/csv` a higher weight than JSON; wildcards stand for JSON."""
    best: ScoreFormat = "json"
    weight = 0.0
    for member in accept.lower().split(","):
        name, *parameters = (part.strip() for part in member.split(";"))
        quality = next((_parse_quality(item) for item in parameters if item.startswith("q=")), 1.0)
        form: ScoreFormat | None = "csv" if name == "text/csv" else None
        form = "json" if name in {_JSON, "*/*", "application/*"} else form
        if form is not None and quality > weight:
            best, weight = form, quality
    return best


def _parse_quality(parameter: str) -> float:
    try:
        return float(parameter[2:])
    except ValueError:
        return 0.0


def _next_target(account_id: str, query: ScoreFilter, cursor: str) -> str:
    """Return path and query of the next page in CSV."""
    values = query.model_dump(mode="json", exclude_none=True, exclude={"cursor"})
    return f"/v1/scores/{account_id}?{urlencode({**values, 'format': 'csv', 'cursor': cursor})}"


def _encode_cursor(item: StoredScore) -> str:
    score = item.score
    position = [score.as_of.isoformat(), score.total, score.ad_id, score.alarm]
    return base64.urlsafe_b64encode(orjson.dumps(position)).decode().rstrip("=")


def _decode_cursor(cursor: str) -> ScorePosition:
    try:
        padded = cursor.encode("ascii") + b"=" * (-len(cursor) % 4)
        as_of, total, ad_id, alarm = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        number = None if total is None else float(total)
        position = ScorePosition(date.fromisoformat(as_of), number, str(ad_id), alarm)
    except (binascii.Error, ValueError, TypeError, OverflowError):
        raise BadRequest(_CURSOR_HINT) from None
    if "\0" in position.ad_id or alarm not in {"none", "watch", "alarm"}:  # PostgreSQL takes no zero bytes
        raise BadRequest(_CURSOR_HINT)
    return position
