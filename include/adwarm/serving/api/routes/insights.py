"""Routes that read a report, and list what there is to read.

The report route, as the OpenAPI document describes it.

`hit_route.HitRoute` answers it ahead of this router, which would cost as much as the answer itself. No request arrives
here; what follows declares the parameters and the answers.
"""

from typing import Annotated, Literal

from fastapi import APIRouter, Header, Path, Query
from fastapi.responses import Response
from pydantic import BaseModel, Field

from adwarm.model import PRESETS
from adwarm.serving.api.errors import Responses, problems, text_header
from adwarm.serving.api.guard import ACTOR_TEXT, PARTIAL_TEXT, AccountPath, ReadToken, Services
from adwarm.serving.api.models import AccountItem, AccountPage, ActorName, PriorityName, QueuedReport
from adwarm.serving.problems import Problem
from adwarm.store import accounts

router = APIRouter(tags=["reports"])
Shape = Literal["columnar", "rows", "ndjson", "csv", "arrow"]
_HEADERS = {
    "ETag": text_header("Strong validator of this body; one for each content coding and shape."),
    "Age": {"description": "Age of the data in seconds.", "schema": {"type": "integer"}},
    "Cache-Status": text_header("RFC 9211: `hit` or `fwd=miss`, with `ttl` in seconds, and `key`."),
    "Cache-Control": text_header("How a browser may keep the answer."),
    "Adwarm-Source": text_header("Step of the fallback chain that answered; absent for the stored entry."),
    "Adwarm-Degraded": text_header("`?1` when the answer is less than what was asked for."),
    "Adwarm-Reason": text_header("Why it is degraded, or why a fallback answered, as a quoted string (RFC 8941)."),
    "Adwarm-Actions": text_header("What was tried before, as a list of quoted strings (RFC 8941)."),
    "Adwarm-Window": text_header("Days of the answer, when they are not those asked for; absent otherwise."),
    "Preference-Applied": text_header("RFC 7240: what of `Prefer` was followed: `wait=N`, `allow-partial`."),
    "Vary": text_header("The request headers that choose the answer."),
}
_BINARY = {"schema": {"type": "string", "format": "binary"}}
_DOCUMENT = {"type": "object", "additionalProperties": True, "description": "The columnar document."}
_RESPONSES: Responses = {
    200: {
        "description": "The report: fresh, stale while a fresh copy is requested, or degraded from the fallback chain.",
        "headers": _HEADERS,
        "content": {
            "application/vnd.adwarm.report+json": {"schema": _DOCUMENT},
            "application/json": {"schema": {"description": "Rows."}},
            "application/x-ndjson": {"schema": {"type": "string"}},
            "text/csv": {"schema": {"type": "string"}},
            "application/vnd.apache.arrow.stream": _BINARY,
        },
    },
    202: {
        "description": "It is not stored; it was requested. Ask again after `Retry-After`, or follow `Location`.",
        "headers": {
            "Retry-After": {"description": "Seconds after which to ask again.", "schema": {"type": "integer"}},
            "Location": text_header("Path of the request."),
        },
        "model": QueuedReport,
    },
    304: {"description": "The copy named by `If-None-Match` is current.", "headers": _HEADERS},
    **problems(400, 404, 406),
}


class ReportQuery(BaseModel):
    """The query of the report route."""

    report: str = Field("default", max_length=40, description="Name of the report in the settings.")
    shape: Shape | None = Field(
        None, description="Form of the rows; default: the one that `Accept` names, else columnar."
    )
    table: Literal["daily", "summary"] | None = Field(
        None, description="Which table: ndjson, csv and arrow hold one of the document's two."
    )


class ReportHeaders(BaseModel):
    """The request headers of the report route."""

    prefer: str = Field(
        "",
        alias="Prefer",
        max_length=200,
        description=f"RFC 7240: `wait=N` waits up to N seconds, at most 30, for a missing or stale one; {PARTIAL_TEXT}",
    )
    priority: PriorityName = Field(
        "normal",
        alias="Adwarm-Priority",
        description="Class of the request for a missing or stale report, cut to the token's highest.",
    )
    actor: ActorName | None = Field(None, alias="Adwarm-Actor", description=ACTOR_TEXT)
    trigger: Literal["open", "poll", "revalidate"] = Field(
        "open", alias="Adwarm-Trigger", description="Why the client asks; only `open` counts as an open by a human."
    )
    request: str = Field(
        "",
        alias="Adwarm-Request",
        max_length=20,
        description="Id of the request that an earlier 202 named, so that both are one open.",
    )
    if_none_match: str = Field(
        "", alias="If-None-Match", max_length=1_000, description="Validators of the copies at hand."
    )


@router.get(
    "/insights/{account}/{range}",
    summary="Read a report",
    operation_id="read_report",
    response_class=Response,
    responses=_RESPONSES,
)
async def read_report(
    token: ReadToken,
    account: AccountPath,
    date_range: Annotated[
        str, Path(alias="range", max_length=40, description="A preset such as `last_7d`, or `YYYY-MM-DD..YYYY-MM-DD`.")
    ],
    query: Annotated[ReportQuery, Query()],
    headers: Annotated[ReportHeaders, Header()],
) -> Response:
    """Answer what is stored, at once. A missing report is requested when the token has the scope `enqueue`."""
    del token, account, date_range, query, headers
    raise Problem(503, "Service Unavailable", "reports are not served by this process; start it with `adwarm serve`")


@router.get(
    "/accounts",
    summary="The accounts that the token may read",
    operation_id="list_accounts",
    responses=problems(),
)
def list_accounts(token: ReadToken, services: Services) -> AccountPage:
    """Stored accounts by id, with the names of the reports and of the date presets."""
    stored = accounts.list_as_of(services.context.engine, services.clock.now()).values()
    items = [
        AccountItem(
            id=item.id,
            name=item.name or None,
            status=item.status,
            data_zone=item.data_zone,
            currency=item.currency or None,
        )
        for item in stored
        if token.may_read(item.id)
    ]
    return AccountPage(accounts=items, reports=sorted(services.context.settings.reports), presets=list(PRESETS))
