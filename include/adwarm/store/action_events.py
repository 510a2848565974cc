"""What people and healers did: one row for each action, also for one that failed.

Text is stored without secrets and without control characters, and shortened, so that any input can be recorded.
"""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from datetime import datetime
from typing import Annotated, Any, TypedDict, Unpack

from sqlalchemy import Engine, Index, insert, select

from adwarm.foundation.redaction import redact
from adwarm.store.columns import from_row, table_of
from adwarm.store.database import read_transaction, write_transaction

_MAX_NAME, _MAX_VALUE, _MAX_DETAIL, _MAX_ITEMS = 250, 500, 2_000, 500
HEALING = "healing"
"""`via` of what a healer did, which no list of what people did shows."""
_UNSTORABLE = re.compile("[\x00-\x08\x0b-\x1f\x7f\ud800-\udfff]")


class ActionFields(TypedDict):
    """The fields of an `ActionEvent` but its number."""

    at: datetime
    actor: str
    via: str
    action: str
    subject: str | None
    arguments: Mapping[str, Any]
    succeeded: bool
    detail: str


@dataclass(frozen=True, slots=True)
class ActionEvent:
    """What somebody did on the page or the command line, or a healer in a process; also what failed."""

    id: int
    at: Annotated[datetime, "When it was done."]
    actor: Annotated[str, 250, "Who did it: a user of Airflow or of the operating system, a token, or a process."]
    via: Annotated[str, 16, "`airflow`, `token`, `cli` or `healing`."]
    action: Annotated[str, 40, "What was done, such as `warm_now` or `token_refresh`."]
    subject: Annotated[str | None, 250, "What it was done to, such as a scope or an account; None when it has none."]
    arguments: Annotated[Mapping[str, Any], "JSON values of the form or command; of healing the error and the seconds."]
    succeeded: Annotated[bool, "Whether it was carried out."]
    detail: Annotated[str, "The result, or why it failed."]


table = table_of(
    ActionEvent,
    "action_event",
    Index(None, "at"),
    key=("id",),
    grows="actions, and healing: at most one per action, scope and cool-down",
    bound="deleted after `ADWARM_RETENTION__ACTION_DAYS`, healing after `ADWARM_RETENTION__HISTORY_DAYS`",
)


def record_action(engine: Engine, **fields: Unpack[ActionFields]) -> int:
    """Record an action, and return its number. Secrets and what a database cannot store are taken out."""
    row = {
        "at": fields["at"],
        "actor": clean_text(fields["actor"], _MAX_NAME),
        "via": clean_text(fields["via"], 16),
        "action": clean_text(fields["action"], 40),
        "subject": None if fields["subject"] is None else clean_text(fields["subject"], _MAX_NAME),
        "arguments": {clean_text(name, 60): _clean_value(value) for name, value in fields["arguments"].items()},
        "succeeded": fields["succeeded"],
        "detail": clean_text(fields["detail"], _MAX_DETAIL),
    }
    with write_transaction(engine) as connection:
        return int(connection.execute(insert(table).values(**row).returning(table.c.id)).scalar_one())


def list_actions(engine: Engine, before_id: int | None = None, limit: int = 50) -> list[ActionEvent]:
    """Return up to `limit` actions of people, newest first; with `before_id`, those recorded before that one."""
    query = select(table).where(table.c.via != HEALING).order_by(table.c.id.desc()).limit(limit)
    if before_id is not None:
        query = query.where(table.c.id < before_id)
    with read_transaction(engine) as connection:
        return [from_row(ActionEvent, row) for row in connection.execute(query)]


def find_action(engine: Engine, action_id: int) -> ActionEvent | None:
    """Return one action; None when there is none with that number."""
    with read_transaction(engine) as connection:
        row = connection.execute(select(table).where(table.c.id == action_id)).one_or_none()
    return None if row is None else from_row(ActionEvent, row)


def clean_text(text: str, longest: int) -> str:
    """Return text as it may be stored and shown: without secrets and control characters, and at most so long."""
    return _UNSTORABLE.sub(" ", redact(text))[:longest]


def _clean_value(value: Any) -> Any:
    if value is None or isinstance(value, bool | int | float):
        return value
    if isinstance(value, Mapping):
        return {clean_text(str(name), 60): _clean_value(item) for name, item in value.items()}
    if isinstance(value, list | tuple):
        return [_clean_value(item) for item in value[:_MAX_ITEMS]]
    return clean_text(str(value), _MAX_VALUE)
