"""The database, the object store and the settings of one process, passed as one argument."""

from dataclasses import dataclass

from sqlalchemy import Engine

from adwarm.settings import Settings
from adwarm.store.objects import ObjectStore


@dataclass(frozen=True, slots=True)
class Context:
    """The database, the object store and the settings of one process.

    Attributes:
        engine: the database; opened after a fork, never before.
        objects: the object store.
        settings: the settings of this process.
    """

    engine: Engine
    objects: ObjectStore
    settings: Settings
