"""What most functions work with: the database, the object store and the settings of one process."""

from dataclasses import dataclass

from sqlalchemy import Engine

from adwarm.settings import Settings
from adwarm.store.objects import ObjectStore


@dataclass(frozen=True, slots=True)
class Context:
    """The parts that travel together.

    Attributes:
        engine: the database; opened after a fork, never before.
        objects: the object store.
        settings: the settings of this process.
    """

    engine: Engine
    objects: ObjectStore
    settings: Settings
