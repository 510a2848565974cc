"""Removes secrets from text before it is recorded, logged or sent, and holds those that this process knows.

Rules and registry are the client's, which is installed without adwarm too; the rest of the package imports them from
here.

Facts that every log line of a piece of work carries, and log lines as JSON.

| fact      | what                                                                                    |
|-----------|-----------------------------------------------------------------------------------------|
| `run`     | the run whose plan is carried out, as the tables `warm` and `warming_job` name it       |
| `batch`   | number of the batch                                                                     |
| `account` | the account that is fetched                                                             |
| `ids`     | the planned warms (`warm-12`) and readers' requests (`request-7`) that the line is about |

`adwarm status` takes a run or one of these ids. Facts follow into the threads of a batch. No line contains a secret.
"""

import logging
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import Any

import orjson

from adwarm_client.known_secrets import (
    MAX_SECRETS,
    MIN_SECRET,
    REGISTRY,
    SecretRegistry,
    hide_secrets,
    register_secret,
    register_url,
)
from adwarm_client.redaction import HIDDEN, MAX_CHARACTERS, describe_traceback, log_unexpected, redact

__all__ = [
    "HIDDEN",
    "MAX_CHARACTERS",
    "MAX_SECRETS",
    "MIN_SECRET",
    "REGISTRY",
    "SecretRegistry",
    "describe_traceback",
    "hide_secrets",
    "log_unexpected",
    "redact",
    "register_secret",
    "register_url",
]


_facts: ContextVar[dict[str, Any] | None] = ContextVar("adwarm_log_facts", default=None)


@contextmanager
def log_context(**facts: Any) -> Iterator[None]:
    """Add facts to every log line of the block; inner facts replace outer ones of the same name."""
    token = _facts.set({**(_facts.get() or {}), **facts})
    try:
        yield
    finally:
        _facts.reset(token)


def get_facts() -> dict[str, Any]:
    """Return the facts of the calling thread."""
    return dict(_facts.get() or {})


class JsonFormatter(logging.Formatter):
    """Formats a record as one line of JSON: time (UTC), level, logger, message and the facts; without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the line."""
        line: dict[str, Any] = {
            "at": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname,
            "logger": record.name,
            "message": redact(record.getMessage()),
            **get_facts(),
        }
        if record.exc_info is not None and record.exc_info[1] is not None:
            line["traceback"] = describe_traceback(record.exc_info[1])
        return orjson.dumps(line, default=str).decode()


class FactsFormatter(logging.Formatter):
    """Formats a record as text, with its facts in brackets at the end; without secrets."""

    def format(self, record: logging.LogRecord) -> str:
        """Return the text."""
        text = redact(super().format(record))
        facts = " ".join(f"{name}={_write(value)}" for name, value in get_facts().items())
        return f"{text} [{facts}]" if facts else text


def configure_logging(form: str, level: str) -> None:
    """Write log lines of this process to standard error.

    Args:
        form: `json` or `text`.
        level: the least level of adwarm's own lines; those of libraries are written from warnings on.
    """
    handler = logging.StreamHandler(sys.stderr)
    text = FactsFormatter("%(asctime)s %(levelname)s %(name)s: %(message)s")
    handler.setFormatter(JsonFormatter() if form == "json" else text)
    logging.basicConfig(level=logging.WARNING, handlers=[handler], force=True)
    logging.getLogger("adwarm").setLevel(level)


def _write(value: Any) -> str:
    return ",".join(map(str, value)) if isinstance(value, list | tuple) else str(value)
