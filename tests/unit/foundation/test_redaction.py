"""Log lines with facts: as JSON and as text, in threads, and without secrets."""

import logging
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextvars import copy_context

import orjson
import pytest

from adwarm.foundation.redaction import FactsFormatter, JsonFormatter, configure_logging, get_facts, log_context


@pytest.fixture
def root_logging() -> Iterator[None]:
    """Restores the handlers and levels that a test changes."""
    root, own = logging.getLogger(), logging.getLogger("adwarm")
    before = (list(root.handlers), root.level, own.level)
    yield
    root.handlers[:], root.level, own.level = before


def _record(message: str, *values: object, error: BaseException | None = None) -> logging.LogRecord:
    info = None if error is None else (type(error), error, None)
    return logging.LogRecord("adwarm.x", logging.WARNING, __file__, 1, message, values, info)


def test_facts_nest_and_end() -> None:
    """Inner facts replace outer ones, and each ends with its block."""
    with log_context(run="dag/1", batch=0):
        with log_context(batch=1, ids=["warm-1"]):
            assert get_facts() == {"run": "dag/1", "batch": 1, "ids": ["warm-1"]}
        assert get_facts() == {"run": "dag/1", "batch": 0}
    assert get_facts() == {}


def test_facts_follow_into_threads() -> None:
    """A thread that runs in a copy of the context has the facts of its starter."""
    with log_context(run="dag/1"), ThreadPoolExecutor(1) as pool:
        assert pool.submit(copy_context().run, get_facts).result() == {"run": "dag/1"}


def test_a_line_is_one_json_document() -> None:
    """Time, level, logger, message and facts; a line break stays within the line."""
    with log_context(run="dag/1", ids=["warm-1", "warm-2"]):
        text = JsonFormatter().format(_record("two\nlines of %s", "x"))
    line = orjson.loads(text)

    assert "\n" not in text
    assert line.pop("at").endswith("+00:00")
    assert line == {
        "level": "WARNING",
        "logger": "adwarm.x",
        "message": "two\nlines of x",
        "run": "dag/1",
        "ids": ["warm-1", "warm-2"],
    }


def test_no_line_shows_a_secret() -> None:
    """Neither the message nor the traceback of an error shows a credential, in either form."""
    secret = "EAABsbCS1234567890abcdefghijklmnop"
    record = _record("called with access_token=%s", secret, error=ValueError(f"password={secret}"))
    with log_context(run="dag/1"):
        texts = [JsonFormatter().format(record), FactsFormatter("%(message)s").format(record)]

    assert [text for text in texts if secret in text] == []
    assert orjson.loads(texts[0])["traceback"][-1] == "ValueError: password=[hidden]"
    assert texts[1].endswith("[run=dag/1]")


def test_logging_is_configured(root_logging: None, capsys: pytest.CaptureFixture[str]) -> None:
    """Lines of adwarm are written from the chosen level on, those of libraries from warnings on."""
    configure_logging("json", "DEBUG")
    logging.getLogger("adwarm.x").debug("own")
    logging.getLogger("library").info("quiet")
    logging.getLogger("library").warning("loud")
    lines = [orjson.loads(line)["message"] for line in capsys.readouterr().err.splitlines()]

    assert lines == ["own", "loud"]
