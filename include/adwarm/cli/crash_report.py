"""What the command line says of an error that nobody foresaw: one line, with the traceback in a file."""

import os
import sys
import tempfile
import traceback
from pathlib import Path

from adwarm.foundation.clock import SystemClock
from adwarm.foundation.errors import AdwarmError
from adwarm.foundation.redaction import redact

_MAX_MESSAGE_CHARS = 300
_MAX_LINES = 4_000


def describe_unexpected_error(error: Exception) -> tuple[str, Path | None]:
    """Return the one line about `error`, without a secret, and the file with its traceback if it could be written."""
    words = " ".join(redact(f"{type(error).__name__}: {error}").split())
    words = words if len(words) <= _MAX_MESSAGE_CHARS else f"{words[: _MAX_MESSAGE_CHARS - 1]}…"
    try:
        path = _write_traceback(error)
    except OSError as failure:
        return f"unexpected error {words}; its traceback could not be written ({type(failure).__name__})", None
    return f"unexpected error {words}; its traceback is in {path}, please report it", path


def _write_traceback(error: Exception) -> Path:
    now = SystemClock().now()
    # Line by line, because what `redact` returns is bounded in length.
    lines = [redact(line) for part in traceback.format_exception(error) for line in part.splitlines()]
    head = [f"{now:%Y-%m-%d %H:%M:%S} UTC, adwarm {redact(' '.join(sys.argv[1:]))}", ""]
    name = f"error-{now:%Y%m%dT%H%M%S}-{os.getpid()}.txt"
    text = "\n".join([*head, *lines[-_MAX_LINES:]]) + "\n"
    try:
        return _write_private_file(_errors_folder(), name, text)
    except OSError:  # a home that cannot be written to may be what went wrong
        return _write_private_file(Path(tempfile.gettempdir()), f"adwarm-{name}", text)


def _errors_folder() -> Path:
    from adwarm.settings import load_settings

    try:
        return load_settings().home.absolute() / "errors"
    except AdwarmError:
        return Path(tempfile.gettempdir()) / "adwarm-errors"


def _write_private_file(folder: Path, name: str, text: str) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    path = folder / name
    with os.fdopen(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_NOFOLLOW, 0o600), "w") as file:
        file.write(text)
    return path
