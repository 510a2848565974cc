"""Alerts, and the outbox of their notices.

An alert is open until `resolved_at` is set; at most one is open for a kind of errors and a scope. The transaction that
opens or resolves an alert also inserts one row for each channel in `alert_delivery`, so no notice is lost when the
process stops. Whoever claims a row sends it; a claim ends by the database's clock, so another process sends what a
stopped one has claimed.
"""

from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Annotated, Any, Final

from sqlalchemy import ColumnElement, Connection, Engine, and_, delete, exists, func, or_, select, text, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.schema import ForeignKey, Index
from sqlalchemy.types import JSON

from adwarm.store.accounts import CONNECTION
from adwarm.store.accounts import table as account
from adwarm.store.columns import ROW_ID, from_row, shorten, table_of, to_row, value_column
from adwarm.store.database import database_time, insert_new, read_transaction, write_transaction
from adwarm.store.error_events import count_errors, find_accounts
from adwarm.store.partitions import table as partition

OPENED = "opened"
RESOLVED = "resolved"
MAX_ATTEMPTS = 30
"""A notice that could not be sent this often, which takes about a day, is given up."""
_FIRST_BACKOFF = timedelta(seconds=30)
_LONGEST_BACKOFF = timedelta(hours=1)
_ACCOUNT, _CONNECTION = "account:", "connection:"
_LONGEST_QUIET = timedelta(days=1)
_SCOPE_LENGTH = 200
_CLAIMED_AT_ONCE = 200
AlertedAds = Mapping[str, Mapping[str, tuple[str, int]]]
"""Ads that an alert is about: by account and ad id, the day of the score as ISO text, and its level."""


@dataclass(frozen=True, slots=True, kw_only=True)
class NewAlert:
    """Errors that have crossed their threshold, or a single event that a human should see.

    Attributes:
        at: time of the last error.
        kind: class of the errors.
        scope: what failed: a source such as `meta`, `connection:NAME` or `account:act_1`.
        wider_scope: the scope that holds this one, such as the account's source; an alert that is open for it covers
            this one. None for the widest.
        errors: errors in the window.
        window_seconds: the window; 0 for a single event.
        example: a report key or an account that failed.
        reason: message of the last error, without secrets.
        is_over: whether nothing is open, and only a message is sent.
        ads: what it is about, so that no later alert is about the same.
    """

    at: datetime
    kind: str
    scope: str
    wider_scope: str | None = None
    errors: int = 1
    window_seconds: float = 0.0
    example: str | None = None
    reason: str
    next_step: str
    is_over: bool = False
    ads: AlertedAds = field(default_factory=dict)


@dataclass(frozen=True, slots=True, kw_only=True)
class StoredAlert:
    """Errors of one kind and scope that exceeded their threshold, or a single event that a human should see."""

    id: int
    kind: Annotated[str, 40, "Class of the errors."]
    scope: Annotated[
        str, 200, "What failed: a source, `connection:NAME` or `account:ID`; for ads also a number of accounts."
    ]
    opened_at: Annotated[datetime, "When it was raised."]
    last_at: Annotated[datetime, "When its last error happened."]
    errors: Annotated[int, "Errors in the window when it was raised, and further ones since."]
    window_seconds: Annotated[float, "The window; 0 for a single event."]
    example: Annotated[str | None, 200, "A key or account that failed."]
    reason: Annotated[str, "Message of the last error, without secrets."]
    next_step: Annotated[str, "What to do about it."]
    resolved_at: Annotated[datetime | None, "When it was resolved; None while it is open."]


alert = table_of(
    StoredAlert,
    "alert",
    value_column("ads", JSON, dict, doc="Ads that got worse: the day and level of their scores, by account and ad."),
    Index(None, "opened_at"),
    Index(
        "uq_alert_open",
        "kind",
        "scope",
        unique=True,
        sqlite_where=text("resolved_at IS NULL"),
        postgresql_where=text("resolved_at IS NULL"),
    ),
    key=("id",),
    grows="alerts raised",
    bound="resolved ones are deleted after `ADWARM_RETENTION__HISTORY_DAYS`",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Delivery:
    """A notice of an alert for one channel, and whether it was delivered."""

    alert_id: Annotated[int, ROW_ID, ForeignKey("alert.id"), "The alert."]
    notice: Annotated[str, 40, "`opened`, `resolved` or a repetition."]
    channel: Annotated[str, 80, "Name of the channel."]
    created_at: Annotated[datetime, "When the notice became due."]
    claimed_until: Annotated[
        datetime | None, "Until when a process is sending it; after a failure, when it is due again."
    ]
    attempts: Annotated[int, "How often it was tried."] = 0
    delivered_at: Annotated[datetime | None, "When it was delivered; None before."]
    error: Annotated[str | None, "Why the last attempt failed."]

    @property
    def is_given_up(self) -> bool:
        """Whether it is not tried again."""
        return self.delivered_at is None and self.attempts >= MAX_ATTEMPTS


alert_delivery = table_of(
    Delivery,
    "alert_delivery",
    Index(None, "delivered_at"),
    key=("alert_id", "notice", "channel"),
    grows="alerts and channels",
    bound="deleted with the alert",
)


@dataclass(frozen=True, slots=True)
class ClaimedNotice:
    """A notice that this process may send until its claim ends."""

    alert: StoredAlert
    delivery: Delivery


@dataclass(frozen=True, slots=True)
class Channels:
    """Names of the channels that get a notice.

    Attributes:
        delivered: those whose notice the caller delivers itself, right after the transaction.
        queued: the others.
    """

    delivered: tuple[str, ...] = ()
    queued: tuple[str, ...] = ()


@dataclass(frozen=True, slots=True)
class Changes:
    """Alerts that one call opened and resolved."""

    opened: tuple[StoredAlert, ...] = ()
    resolved: tuple[StoredAlert, ...] = ()


def open_or_extend(engine: Engine, new: NewAlert, channels: Channels, quiet_before: datetime) -> Changes:
    """Open an alert, or update the one that is open for the same errors.

    An alert whose last error is older than `quiet_before` is resolved first. An alert about one account becomes one of
    the wider scope when errors of other accounts have joined, so that one failure makes one alert.
    """
    with write_transaction(engine) as connection:
        resolved = _resolve(connection, quiet_before, new.at, channels, kind=new.kind)
        covering = _find_covering(connection, new)
        if covering is None:
            opened = _insert(connection, new, channels)
            if opened is not None:
                return Changes((opened,), resolved)
            covering = _find_covering(connection, new)  # another worker was first
        if covering is not None:
            _extend(connection, covering, new)
    return Changes((), resolved)


def open_event(engine: Engine, build: Callable[[Connection], NewAlert | None], channels: Channels) -> Changes:
    """Open the alert that `build` returns, if any; one that is open for the same kind and scope ends without a notice.

    `build` runs in the transaction that stores the alert and its notices.
    """
    with write_transaction(engine) as connection:
        new = build(connection)
        if new is None:
            return Changes()
        same = (
            alert.c.kind == new.kind[:40],
            alert.c.scope == new.scope[:_SCOPE_LENGTH],
            alert.c.resolved_at.is_(None),
        )
        connection.execute(update(alert).where(*same).values(resolved_at=new.at))
        opened = _insert(connection, new, channels)
        return Changes((opened,) if opened is not None else ())


def resolve_quiet(engine: Engine, quiet_before: datetime, at: datetime, channels: Channels) -> tuple[StoredAlert, ...]:
    """Resolve each open alert without an error since `quiet_before`, and return them; counts of the others are updated.

    Errors are looked up in the error history, so that those count which no process has reported yet.
    """
    with write_transaction(engine) as connection:
        for row in connection.execute(select(alert).where(alert.c.resolved_at.is_(None)).order_by(alert.c.id)).all():
            _refresh(connection, from_row(StoredAlert, row))
        return _resolve(connection, quiet_before, at, channels)


def repeat_open(engine: Engine, now: datetime, every: timedelta, channels: Channels) -> int:
    """Insert a notice for each alert that has been open for another `every`; return how many alerts that are.

    Whichever worker comes first inserts it.
    """
    repeated = 0
    with write_transaction(engine) as connection:
        rows = connection.execute(
            select(alert).where(alert.c.resolved_at.is_(None), alert.c.opened_at <= now - every)
        ).all()
        for row in rows:
            number = int((now - row.opened_at) / every)
            notices = _notices(row.id, f"repeated {number}", channels, now)
            repeated += _insert_notices(connection, notices)
    return repeated


def claim_notices(
    engine: Engine,
    channels: Collection[str],
    seconds: float,
    *,
    time: Callable[[Connection], float] = database_time,
) -> list[ClaimedNotice]:
    """Claim the oldest due notice of the channels for `seconds`, and those that belong in one message with it.

    These are due for the same channel, and say the same of alerts of the same kind. That an alert is resolved is due
    only when the channel has got another notice of it. When nothing is due, which is the usual case, nothing is locked.
    """
    if not channels:
        return []
    with read_transaction(engine) as connection:
        now = datetime.fromtimestamp(time(connection), UTC)
        candidates = connection.execute(_due_notices(channels, now)).all()
    if not candidates:
        return []
    with write_transaction(engine) as connection:
        claimed, until, topic = list[ClaimedNotice](), now + timedelta(seconds=seconds), None
        for candidate in candidates:
            if topic not in {None, _topic(candidate)}:
                continue
            claim = update(alert_delivery).where(_is_row(candidate), _is_due(now))
            claim = claim.values(claimed_until=until, attempts=alert_delivery.c.attempts + 1)
            if connection.execute(claim).rowcount:
                topic = _topic(candidate)
                delivery = replace(from_row(Delivery, candidate), claimed_until=until, attempts=candidate.attempts + 1)
                row = connection.execute(select(alert).where(alert.c.id == candidate.alert_id)).one()
                claimed.append(ClaimedNotice(from_row(StoredAlert, row), delivery))
    return claimed


def finish_notice(
    engine: Engine,
    notice: ClaimedNotice,
    error: str | None = None,
    *,
    time: Callable[[Connection], float] = database_time,
) -> bool:
    """Record that a claimed notice was delivered, or why not; return False when the claim had ended.

    A notice that failed is due again after a delay that doubles with each attempt, up to an hour.
    """
    claim = notice.delivery
    with write_transaction(engine) as connection:
        now = datetime.fromtimestamp(time(connection), UTC)
        values: dict[str, Any] = {"delivered_at": now, "claimed_until": None, "error": None}
        if error is not None:
            delay = min(_FIRST_BACKOFF * 2 ** min(claim.attempts - 1, 10), _LONGEST_BACKOFF)
            values = {"claimed_until": now + delay, "error": error}
        mine = and_(_is_row(claim), alert_delivery.c.claimed_until == claim.claimed_until)
        return bool(connection.execute(update(alert_delivery).where(mine).values(values)).rowcount)


def list_alerted_ads(connection: Connection, kind: str, since: datetime) -> list[tuple[datetime, AlertedAds]]:
    """Return when alerts of a kind were opened since then, and the ads that each is about, oldest first."""
    query = select(alert).where(alert.c.kind == kind, alert.c.opened_at >= since).order_by(alert.c.id)
    return [(row.opened_at, row.ads) for row in connection.execute(query)]


def was_raised(connection: Connection, kind: str, scope: str) -> bool:
    """Return whether there is an alert of this kind and scope, open or not."""
    same = exists().where(alert.c.kind == kind, alert.c.scope == scope)
    return bool(connection.execute(select(same)).scalar_one())


COUNT_OPEN: Final = select(func.count()).select_from(alert).where(alert.c.resolved_at.is_(None))
"""The statement of `count_open`, for queries that count other things as well."""


def count_open(engine: Engine) -> int:
    """Return how many alerts are open."""
    with read_transaction(engine) as connection:
        return int(connection.execute(COUNT_OPEN).scalar_one())


def list_alerts(engine: Engine, *, open_only: bool = False, limit: int | None = 100) -> list[StoredAlert]:
    """Return the newest alerts first, with a limit of None all; with `open_only` without resolved ones."""
    query = select(alert).order_by(alert.c.id.desc()).limit(limit)
    if open_only:
        query = query.where(alert.c.resolved_at.is_(None))
    with read_transaction(engine) as connection:
        return [from_row(StoredAlert, row) for row in connection.execute(query)]


def list_deliveries(engine: Engine, alert_ids: Sequence[int]) -> list[Delivery]:
    """Return the notices of the alerts, by alert, time and channel."""
    table = alert_delivery.c
    query = select(alert_delivery).where(table.alert_id.in_(alert_ids))
    query = query.order_by(table.alert_id, table.created_at, table.notice, table.channel)
    with read_transaction(engine) as connection:
        return [from_row(Delivery, row) for row in connection.execute(query)]


def delete_resolved(engine: Engine, before: datetime) -> int:
    """Delete alerts that were resolved before `before`, with their notices, and return how many."""
    old = select(alert.c.id).where(alert.c.resolved_at < before)
    with write_transaction(engine) as connection:
        connection.execute(delete(alert_delivery).where(alert_delivery.c.alert_id.in_(old)))
        return int(connection.execute(delete(alert).where(alert.c.resolved_at < before)).rowcount)


def _find_covering(connection: Connection, new: NewAlert) -> StoredAlert | None:
    """Return the open alert of the same scope, else of the wider one, else of an account that is among the errors."""
    is_open = and_(alert.c.kind == new.kind[:40], alert.c.resolved_at.is_(None))
    scopes = [scope[:_SCOPE_LENGTH] for scope in (new.scope, new.wider_scope) if scope]
    rows = connection.execute(select(alert).where(is_open, alert.c.scope.in_(scopes)).order_by(alert.c.id)).all()
    if rows:
        return from_row(StoredAlert, min(rows, key=lambda row: scopes.index(row.scope)))
    if new.scope.startswith((_ACCOUNT, _CONNECTION)) or not new.window_seconds:
        return None
    narrow = connection.execute(
        select(alert).where(is_open, alert.c.scope.startswith(_ACCOUNT, autoescape=True)).order_by(alert.c.id)
    ).all()
    accounts = [row.scope.removeprefix(_ACCOUNT) for row in narrow]
    since = new.at - timedelta(seconds=new.window_seconds)
    failing = find_accounts(connection, new.scope, new.kind, since, accounts) if accounts else frozenset()
    return next((from_row(StoredAlert, row) for row in narrow if row.scope.removeprefix(_ACCOUNT) in failing), None)


def _insert(connection: Connection, new: NewAlert, channels: Channels) -> StoredAlert | None:
    """Insert the alert and its notices; return None when another worker has opened it."""
    times = {"opened_at": new.at, "last_at": new.at, "resolved_at": new.at if new.is_over else None}
    row = shorten(to_row(new, without=("at", "wider_scope", "is_over")) | times, alert)
    dialect = postgresql if connection.dialect.name == "postgresql" else sqlite
    statement = dialect.insert(alert).values(row).on_conflict_do_nothing().returning(alert.c.id)
    alert_id = connection.execute(statement).scalar_one_or_none()
    if alert_id is None:
        return None
    _insert_notices(connection, _notices(alert_id, OPENED, channels, new.at))
    return StoredAlert(id=alert_id, **{name: value for name, value in row.items() if name != "ads"})


def _extend(connection: Connection, open_alert: StoredAlert, new: NewAlert) -> None:
    """Update the last error of an open alert, and its scope when the new errors have a wider one."""
    values: dict[str, Any] = {"reason": new.reason}
    if new.window_seconds == 0:
        values |= {"errors": alert.c.errors + 1, "last_at": max(new.at, open_alert.last_at)}
    if open_alert.scope.startswith(_ACCOUNT) and open_alert.scope != new.scope[:_SCOPE_LENGTH]:
        values |= {"scope": new.scope[:_SCOPE_LENGTH]}
    connection.execute(update(alert).where(alert.c.id == open_alert.id).values(values))
    _refresh(connection, replace(open_alert, scope=values.get("scope", open_alert.scope)))


def _refresh(connection: Connection, open_alert: StoredAlert) -> None:
    """Take number and time of the errors from the error history, which holds those of every worker."""
    if not open_alert.window_seconds:
        return  # a single event, which the history does not hold
    since = open_alert.opened_at - timedelta(seconds=open_alert.window_seconds)
    counted = count_errors(connection, open_alert.scope, open_alert.kind, since)
    if counted.last_at is None or (counted.errors <= open_alert.errors and counted.last_at <= open_alert.last_at):
        return
    connection.execute(
        update(alert)
        .where(alert.c.id == open_alert.id)
        .values(errors=max(counted.errors, open_alert.errors), last_at=max(counted.last_at, open_alert.last_at))
    )


def _resolve(
    connection: Connection, quiet_before: datetime, at: datetime, channels: Channels, kind: str | None = None
) -> tuple[StoredAlert, ...]:
    quiet = [alert.c.resolved_at.is_(None), alert.c.last_at < quiet_before, _has_ended(at)]
    if kind is not None:
        quiet.append(alert.c.kind == kind[:40])
    rows = connection.execute(update(alert).where(*quiet).values(resolved_at=at).returning(alert))
    resolved = [from_row(StoredAlert, row) for row in rows]
    for item in resolved:
        if item.window_seconds:  # a single event is over when it happens
            _insert_notices(connection, _notices(item.id, RESOLVED, _that_got_opening(connection, item, channels), at))
    return tuple(resolved)


def _has_ended(at: datetime) -> ColumnElement[bool]:
    """Return whether a quiet alert has ended."""
    # A failing connection may be quiet because few calls are made by it, so one about a connection ends when it works.
    rows = account.join(partition, partition.c.account_id == account.c.id)
    is_recent = and_(partition.c.day >= (at - 3 * _LONGEST_QUIET).date(), partition.c.fetched_at > alert.c.last_at)
    works = exists().select_from(rows).where(alert.c.scope == _CONNECTION + CONNECTION, is_recent).correlate(alert)
    is_other = or_(~alert.c.scope.startswith(_CONNECTION, autoescape=True), alert.c.window_seconds == 0)
    return or_(is_other, alert.c.last_at < at - _LONGEST_QUIET, works)


def _that_got_opening(connection: Connection, item: StoredAlert, channels: Channels) -> Channels:
    """Return the channels that got, or will get, the notice that opened the alert."""
    table = alert_delivery.c
    query = select(table.channel).where(table.alert_id == item.id, table.notice == OPENED)
    names = set(connection.execute(query).scalars())
    return Channels(
        tuple(name for name in channels.delivered if name in names),
        tuple(name for name in channels.queued if name in names),
    )


def _notices(alert_id: int, notice: str, channels: Channels, at: datetime) -> list[dict[str, Any]]:
    new = {"alert_id": alert_id, "notice": notice, "created_at": at, "claimed_until": None, "error": None}
    delivered = [{**new, "channel": name, "attempts": 1, "delivered_at": at} for name in channels.delivered]
    return delivered + [{**new, "channel": name, "attempts": 0, "delivered_at": None} for name in channels.queued]


def _insert_notices(connection: Connection, rows: list[dict[str, Any]]) -> bool:
    """Insert the notices unless they exist, and return whether there are new ones."""
    if not rows:
        return False
    keys = alert_delivery.c.alert_id == rows[0]["alert_id"], alert_delivery.c.notice == rows[0]["notice"]
    if connection.execute(select(exists().where(*keys))).scalar_one():
        return False
    insert_new(connection, alert_delivery, rows)
    return True


def _is_due(now: datetime) -> Any:
    table = alert_delivery.c
    return and_(
        table.delivered_at.is_(None),
        table.attempts < MAX_ATTEMPTS,
        or_(table.claimed_until.is_(None), table.claimed_until <= now),
    )


def _due_notices(channels: Collection[str], now: datetime) -> Any:
    table, earlier = alert_delivery.c, alert_delivery.alias("earlier")
    is_known = exists().where(
        earlier.c.alert_id == table.alert_id,
        earlier.c.channel == table.channel,
        earlier.c.delivered_at.is_not(None),
    )
    return (
        select(alert_delivery, alert.c.kind)
        .join(alert, alert.c.id == table.alert_id)
        .where(_is_due(now), table.channel.in_(sorted(channels)), or_(table.notice != RESOLVED, is_known))
        .order_by(table.created_at, table.alert_id)
        .limit(_CLAIMED_AT_ONCE)
    )


def _topic(candidate: Any) -> tuple[str, str, str]:
    """Return what notices of one message have in common; repetitions differ by a number."""
    return candidate.channel, candidate.kind, candidate.notice.partition(" ")[0]


def _is_row(item: Any) -> Any:
    table = alert_delivery.c
    return and_(table.alert_id == item.alert_id, table.notice == item.notice, table.channel == item.channel)
