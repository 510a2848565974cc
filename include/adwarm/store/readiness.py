"""Whether the database and the objects of a process can be used: one answer for `/readyz` and `adwarm doctor`."""

from sqlalchemy import select

from adwarm.foundation.errors import StorageError
from adwarm.foundation.storage import DATA_SETTING, describe_storage_problem
from adwarm.store.context import Context
from adwarm.store.database import read_transaction
from adwarm.store.schema import require_current
from adwarm.store.tables import partition


def require_database(context: Context) -> None:
    """Check that the database can be reached and has the schema of this version.

    Raises:
        BadRequest: it lacks the schema; the message names the command to run.
        Transient: it cannot be reached, or its file is gone.
    """
    require_current(context.engine)


def require_objects(context: Context) -> None:
    """Check that the folder of the objects is there while the database has days in it; behind a URL, nothing is read.

    Raises:
        StorageError: it is gone.
        Transient: the database cannot be reached.
    """
    path = context.objects.local_path
    if path is None or not context.objects.is_lost:
        return
    with read_transaction(context.engine) as connection:
        is_used = connection.execute(select(partition.c.account_id).limit(1)).first() is not None
    if is_used:
        text, advice = "the folder of the stored days is gone", "mount it, or restore a backup"
        raise StorageError(describe_storage_problem(path, DATA_SETTING, text, advice), code="objects_gone")
