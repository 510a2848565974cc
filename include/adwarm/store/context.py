"""The database, the object store and the settings of one process, passed as one argument."""

from collections.abc import Callable
from dataclasses import dataclass

from sqlalchemy import Engine

from adwarm.settings import Settings
from adwarm.store.objects import ObjectStore

OnDamage = Callable[[Exception, str | None, str | None], object]
"""Gets the error about damaged data, the account that the data belongs to, and what it holds, such as a report key."""


def ignore_damage(error: Exception, account_id: str | None, subject: str | None) -> None:
    """Do nothing: for processes that keep no error history."""


@dataclass(frozen=True, slots=True)
class Context:
    """The database, the object store and the settings of one process.

    Attributes:
        engine: the database; opened after a fork, never before.
        objects: the object store.
        settings: the settings of this process.
        on_damage: called by whoever meets damaged data while reading, so that it is recorded, healed and alerted.
    """

    engine: Engine
    objects: ObjectStore
    settings: Settings
    on_damage: OnDamage = ignore_damage
