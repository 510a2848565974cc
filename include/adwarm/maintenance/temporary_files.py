"""Deletes the unfinished files of writers that were killed."""

from collections.abc import Iterator
from contextlib import suppress
from datetime import UTC, datetime
from pathlib import Path

from adwarm.foundation.home import BODY_FOLDER, is_temporary
from adwarm.store import Context

_DATA_FOLDERS = ("objects/*", "reports", "opens/*")


def delete_stale_temporaries(context: Context, older_than: datetime) -> int:
    """Delete unfinished files in the data folder and the home that were last written before `older_than`.

    A store behind a URL has none: a put is complete or absent there. What cannot be deleted is left for the next time.

    Returns:
        How many were deleted.
    """
    deleted = 0
    for path in _list_temporaries(context):
        with suppress(OSError):  # its writer has finished it, or the folder is read-only
            if datetime.fromtimestamp(path.stat().st_mtime, UTC) < older_than:
                path.unlink()
                deleted += 1
    return deleted


def _list_temporaries(context: Context) -> Iterator[Path]:
    root = context.objects.local_path
    folders = [context.settings.home / BODY_FOLDER]
    if root is not None:
        folders += [folder for pattern in _DATA_FOLDERS for folder in sorted(root.glob(pattern))]
    for folder in folders:
        with suppress(OSError):
            yield from [path for path in folder.iterdir() if is_temporary(path.name)]
