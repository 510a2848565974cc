"""Reports an unexpected error: one line for the terminal, the traceback in a private file."""

import os
import sys
import tempfile
from pathlib import Path

from adwarm.foundation.clock import SystemClock
from adwarm.foundation.errors import AdwarmError
from adwarm.foundation.home import make_private_folder
from adwarm.foundation.redaction import describe_traceback, redact

_MAX_MESSAGE_CHARS = 300
_MAX_LINES = 4_000


def describe_unexpected_error(error: Exception) -> tuple[str, Path | None]:
    """Return one line about `error`, without secrets, and the file that holds its traceback.

    The file is in the folder `errors` of the home, else in the folder of temporary files; None when neither can be
    written to.
    """
    summary = " ".join(redact(f"{type(error).__name__}: {error}").split())
    summary = summary if len(summary) <= _MAX_MESSAGE_CHARS else f"{summary[: _MAX_MESSAGE_CHARS - 1]}…"
    try:
        path = _write_traceback(error)
    except OSError as failure:
        return f"unexpected error {summary}; its traceback could not be written ({type(failure).__name__})", None
    return f"unexpected error {summary}; its traceback is in {path}, please report it", path


def _write_traceback(error: Exception) -> Path:
    now = SystemClock().now()
    lines = describe_traceback(error)
    head = [f"{now:%Y-%m-%d %H:%M:%S} UTC, adwarm {redact(' '.join(sys.argv[1:]))}", ""]
    name = f"error-{now:%Y%m%dT%H%M%S}-{os.getpid()}.txt"
    text = "\n".join([*head, *lines[-_MAX_LINES:]]) + "\n"
    try:
        return _write_private_file(_errors_folder(), name, text)
    except OSError:  # a home that cannot be written to may be the cause of the error
        return _write_private_file(Path(tempfile.gettempdir()), f"adwarm-{name}", text)


def _errors_folder() -> Path:
    from adwarm.settings import load_settings

    try:
        return load_settings().home / "errors"
    except AdwarmError:
        return Path(tempfile.gettempdir()) / "adwarm-errors"


def _write_private_file(folder: Path, name: str, text: str) -> Path:
    make_private_folder(folder)
    path = folder / name
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as file:
        file.write(text)
    return path
