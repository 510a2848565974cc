"""The documents of the read API. The OpenAPI document, and the types of its clients, are made from them."""

from datetime import datetime
from typing import Annotated, Any, Literal

from pydantic import AwareDatetime, BaseModel, ConfigDict, Field

MAX_BATCH = 50
PriorityName = Literal["critical", "high", "normal", "low"]
ActorName = Literal["human", "embedded", "api"]
FetchMode = Literal["drains", "waits"]


class Body(BaseModel):
    """A document that a caller sends; unknown names are refused."""

    model_config = ConfigDict(extra="forbid", str_max_length=200)


class Document(BaseModel):
    """A document that the API answers with."""

    model_config = ConfigDict(extra="forbid", json_schema_serialization_defaults_required=True)


class ProblemDocument(BaseModel):
    """Problem details (RFC 9457). Further members depend on the problem."""

    model_config = ConfigDict(extra="allow")

    type: str = Field(description="`about:blank`: the status says which kind of problem it is.")
    title: str = Field(description="The same for every problem of its kind.")
    status: int = Field(description="HTTP status code.")
    detail: str | None = Field(None, description="What happened and what to do.")
    error_id: str | None = Field(None, description="Id of an unexpected error in the server's log.")
    error_kind: str | None = Field(
        None, description="Class of the error for which a report could not be fetched, such as `TokenDead`."
    )
    stored_window: str | None = Field(
        None, description="Other days that are stored, which `Prefer: allow-partial` would have answered."
    )


class KeyBody(Body):
    """The key of a report."""

    account: str = Field(description="Account id, such as `act_1234`.")
    range: Annotated[str, Field(max_length=40)] = Field(
        description="A preset such as `last_7d`, or `YYYY-MM-DD..YYYY-MM-DD`."
    )
    report: Annotated[str, Field(max_length=40)] = Field("default", description="Name of the report in the settings.")


class NewRequest(KeyBody):
    """A request for a report."""

    priority: PriorityName = Field("normal", description="Its class, cut to the token's highest.")


class NewArrival(Body):
    """Days of an account whose data has arrived or was restated."""

    account: str = Field(description="Account id, such as `act_1234`.")
    days: str = Field(description="One day, or the first and the last: `2026-11-01..2026-11-24`.", max_length=24)
    arrived_at: AwareDatetime | None = Field(None, description="When the data was there; now by default.")


class BatchBody(Body):
    """Keys to read."""

    items: list[KeyBody] = Field(description="The keys.", min_length=1, max_length=MAX_BATCH)
    priority: PriorityName = Field("normal", description="Class of the requests for missing reports.")


class OpenRequest(Document):
    """A queued request, to ask for later."""

    request_id: int = Field(description="Id of the request.")
    location: str = Field(description="Path that shows it.")
    retry_after: int | None = Field(None, description="Seconds after which to ask again.")


class QueuedReport(OpenRequest):
    """A report that is not stored, and was requested."""

    status: Literal["queued"] = Field(description="Always `queued`.")
    reason: str | None = Field(None, description="Why it is not there yet.")
    error_kind: str | None = Field(None, description="Class of the error of its last attempt, such as `Throttled`.")
    stored_window: str | None = Field(
        None, description="Other days that are stored, which `Prefer: allow-partial` would have answered."
    )


class NewRequestState(Document):
    """Whether a report was requested."""

    status: Literal["fresh", "queued"] = Field(description="`fresh`: it is stored already; `queued`: it was requested.")
    location: str = Field(description="Path of the report when it is fresh, else of the request.")
    request_id: int | None = Field(None, description="Id of the request; null when it is fresh.")
    retry_after: int | None = Field(None, description="Seconds after which to ask again.")
    reason: str | None = Field(None, description="Why it is not there yet.")


class ArrivalState(Document):
    """What a report of arrived data changed; figures count days, but `entries`."""

    account: str = Field(description="Account id.")
    days: str = Field(description="The reported days.")
    arrived_at: datetime = Field(description="When their data was there.")
    marked: int = Field(description="Days that are fetched again because of it.")
    repeated: int = Field(description="Days that were reported before and are still to be fetched.")
    skipped: int = Field(description="Days that were fetched after their data had arrived.")
    entries: int = Field(description="Stored reports that are no longer fresh because of it.")


class BatchItem(Document):
    """What is stored for one key of a batch."""

    account: str = Field(description="Account id.")
    range: str = Field(description="Date range as requested.")
    report: str = Field(description="Name of the report.")
    status: Literal["hit", "stale", "miss", "not_found", "invalid"] = Field(
        description=(
            "`hit`: fresh; `stale`: stored but old; `miss`: not stored; `not_found`: no such account or report, or the "
            "token may not read it; `invalid`: the key is malformed."
        )
    )
    reason: str | None = Field(None, description="Why it is not a hit.")
    fetched_at: datetime | None = Field(None, description="When the data was fetched.")
    fresh_until: datetime | None = Field(None, description="When it becomes stale; null when it is final.")
    age_seconds: float | None = Field(None, description="Age of the data.")
    source: str | None = Field(None, description="Where it came from.")
    complete: bool | None = Field(None, description="Whether nothing is missing in it.")
    served_from: str | None = Field(
        None, description="The step of the fallback chain that answered: `entry` for the stored entry."
    )
    degraded: bool | None = Field(None, description="Whether it is less than what was asked for; `reason` says why.")
    actions: list[str] = Field([], description="What was tried before, with its outcome.")
    content_type: str | None = Field(None, description="Media type and version of the document.")
    window: str | None = Field(
        None, description="Days of the document, when they are not those of the key: with `Prefer: allow-partial` only."
    )
    stored_window: str | None = Field(
        None, description="Of a miss: other days that are stored, which `Prefer: allow-partial` would have answered."
    )
    request: OpenRequest | None = Field(None, description="The request for it, when one is queued.")
    document: Any = Field(None, description="The stored document; null unless the status is `hit` or `stale`.")


class BatchAnswer(Document):
    """The items of a batch, in the order of the keys."""

    items: list[BatchItem] = Field(description="One for each key.")


class AccountItem(Document):
    """An account that the token may read."""

    id: str = Field(description="Account id.")
    name: str | None = Field(description="Its name, when the platform reported one.")
    status: str = Field(description="active, denied or closed.")
    data_zone: str = Field(description="Time zone of its days.")
    currency: str | None = Field(description="Currency of its amounts.")


class AccountPage(Document):
    """The accounts that the token may read, and the reports and presets to ask for."""

    accounts: list[AccountItem] = Field(description="By id.")
    reports: list[str] = Field(description="Names of the reports.")
    presets: list[str] = Field(description="Names of the date presets.")


class QueueClass(Document):
    """One class of the queue."""

    pending: int = Field(description="Requests that wait.")
    processing: int = Field(description="Requests that a worker holds.")
    oldest_seconds: float | None = Field(description="How long the oldest pending request has waited.")


class QueueClasses(Document):
    """The classes, the most urgent first."""

    critical: QueueClass = Field(description="A caller waits, or the report is urgent.")
    high: QueueClass = Field(description="Before ordinary requests.")
    normal: QueueClass = Field(description="Ordinary requests.")
    low: QueueClass = Field(description="When nothing else waits.")


class QueueState(Document):
    """The request queue now."""

    size: int = Field(description="The most requests that may be pending.")
    pending: int = Field(description="Requests that wait.")
    has_active_worker: bool = Field(description="Whether a worker is draining it.")
    fetch_mode: FetchMode = Field(
        description=("How it is drained: this process `drains` it, or `waits` for the next run of the DAG that does.")
    )
    classes: QueueClasses = Field(description="By class.")


class RequestState(Document):
    """A queued request."""

    id: int = Field(description="Id of the request.")
    account: str = Field(description="Account id.")
    range: str = Field(description="Date range as requested.")
    report: str = Field(description="Name of the report.")
    status: Literal["pending", "processing", "completed", "failed", "expired", "shed"] = Field(
        description="The last four are final."
    )
    priority: PriorityName = Field(description="Its class.")
    position: int | None = Field(description="Position in the order of service, from 1; null unless pending.")
    attempts: int = Field(description="Attempts so far.")
    enqueued_at: datetime = Field(description="When it was queued.")
    deadline: datetime = Field(description="When it expires.")
    not_before: datetime | None = Field(description="When its next attempt may start.")
    finished_at: datetime | None = Field(description="When it ended.")
    error: str | None = Field(description="Why the last attempt failed.")
    error_kind: str | None = Field(description="Class of that error, such as `TokenDead`.")
    report_url: str = Field(description="Path of the report.")


class GateItem(Document):
    """Something that is not called now, by one rule."""

    scope: str = Field(
        description="What: `account:ID`, `app:ID`, `source:NAME`, `connection:NAME`, `fallback:NAME` ..."
    )
    account: str | None = Field(description="The account that it guards; null for what accounts share.")
    rule: Literal["switch", "park", "breaker", "version", "isolation", "denial"] = Field(
        description="Who closed it: a person, the platform, failed calls, an ended version, work that fails, no access."
    )
    state: Literal["closed", "testing"] = Field(description="`closed`: no call; `testing`: a few calls are tests.")
    since: datetime = Field(description="When the state began.")
    until: datetime | None = Field(description="When it opens; null while it is tested, and where a person opens it.")
    opened_by: Literal["time", "probes", "credential", "version", "person"] = Field(
        description="What opens it: its time, tests that succeed, a new token, a newer version of the API, or a person."
    )
    why: str = Field(description="What closed it.")


class GatePage(Document):
    """What is not called now, as far as the token may see it."""

    at: datetime = Field(description="Time of the state.")
    gates: list[GateItem] = Field(description="What accounts share first, then what is closed longest.")


class Health(Document):
    """The process is alive."""

    status: Literal["ok"] = Field("ok", description="Always `ok`.")


class Readiness(Document):
    """Whether the process can serve."""

    status: Literal["ready", "not_ready"] = Field(description="`ready`: requests are answered.")
    database: Literal["ok", "unreachable", "needs_upgrade"] = Field(description="State of the database.")
    objects: Literal["ok", "missing"] = Field(
        description="Whether the folder of the stored days is there; behind a URL it counts as `ok`."
    )
    fetch_mode: FetchMode = Field(
        description=(
            "How a missing report is fetched: this process `drains` the queue, or `waits` for the next run of the DAG "
            "that does."
        )
    )
    database_id: str = Field(description="Tells its database from those of other installations; says nothing of it.")
