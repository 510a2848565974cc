"""Tells what is wrong with one file, which costs that file, from what is wrong with the machine, which stops all."""

import errno
import zlib

import pyarrow as pa

from adwarm.foundation.errors import BadRequest

FILE_ERRORS = (BadRequest, pa.ArrowException, EOFError, zlib.error, UnicodeDecodeError, OSError)
"""What reading a damaged file may raise; ask `is_of_file` about what was caught."""

_FILE_ERRNOS = frozenset({
    errno.EACCES,
    errno.EISDIR,
    errno.ELOOP,
    errno.ENAMETOOLONG,
    errno.ENOENT,
    errno.ENOTDIR,
    errno.ENXIO,
    errno.EPERM,
    errno.ESTALE,
})


def is_file_error(error: BaseException) -> bool:
    """Whether the error says that this one file is damaged, closed to us or gone.

    Arrow and gzip report damage as an OSError without a number. A connection that breaks, a disk that fails and a read
    that was interrupted are no fault of the file.
    """
    if isinstance(error, (ConnectionError, TimeoutError, pa.ArrowCancelled)):
        return False
    return not isinstance(error, OSError) or error.errno is None or error.errno in _FILE_ERRNOS


def describe_error(error: BaseException) -> str:
    """Return what the error says, without the path that is named beside it."""
    told = error.strerror if isinstance(error, OSError) else None
    return told or str(error) or type(error).__name__
