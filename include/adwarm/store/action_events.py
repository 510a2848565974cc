"""The record of actions: what people did on the page or the command line, when, and with which result."""

from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from datetime import datetime
from typing import Any

from sqlalchemy import Engine, insert

from adwarm.store.database import write_transaction
from adwarm.store.page_tables import action_event


@dataclass(frozen=True, slots=True)
class ActionEvent:
    """One action of a person.

    Attributes:
        at: when it was done, UTC.
        actor: who did it.
        via: `airflow`, `token` or `cli`.
        action: what was done, such as `strategy-save`.
        subject: what it was done to, such as the name of a strategy; None when it has no single subject.
        arguments: JSON values without secrets.
        succeeded: whether it was carried out.
        detail: one sentence for people.
    """

    at: datetime
    actor: str
    via: str
    action: str
    subject: str | None = None
    arguments: Mapping[str, Any] = field(default_factory=dict)
    succeeded: bool = True
    detail: str = ""


def record(engine: Engine, event: ActionEvent) -> None:
    """Store an action; actor and subject are cut to the width of their columns."""
    values = asdict(event)
    values["actor"] = event.actor[:250]
    values["subject"] = event.subject and event.subject[:250]
    with write_transaction(engine) as connection:
        connection.execute(insert(action_event).values(**values))
