"""Data at rest: SQL for state that changes, and immutable objects named by their content for everything large."""

from adwarm.store.database import open_engine, read_transaction, write_transaction
from adwarm.store.objects import Context, ObjectStore
from adwarm.store.schema import upgrade

__all__ = ["Context", "ObjectStore", "open_engine", "read_transaction", "upgrade", "write_transaction"]
