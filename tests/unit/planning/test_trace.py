"""One id from the plan to the entry: in the rows of each step, and in the log lines of each step."""

import logging
from collections.abc import Iterator

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.backpressure import RequestQueue
from adwarm.foundation.errors import BadRequest, NotFound, Transient
from adwarm.foundation.redaction import get_facts
from adwarm.model import PlannedWarm, Priority, ReportKey, WarmReason
from adwarm.planning.trace import TraceStep, trace
from adwarm.prefetch import KeyRequest
from adwarm.prefetch.queue_worker import DrainResult, QueueWorker
from adwarm.prefetch.warm_batch import warm_batch
from adwarm.sources.protocol import FetchUnit, ResultPage
from adwarm.store import Context, jobs, warms
from tests.support.wall_clock import database_now
from tests.unit.conftest import NOW, PrefetchHarness

RUN = "adwarm_intelligent_warming/scheduled__1"
KEY = ReportKey("act_1", "yesterday")


class _Lines(logging.Handler):
    """Keeps message and facts of each line."""

    def __init__(self) -> None:
        super().__init__(logging.DEBUG)
        self.lines: list[tuple[str, dict[str, object]]] = []

    def emit(self, record: logging.LogRecord) -> None:
        """Keep a line."""
        self.lines.append((record.getMessage(), get_facts()))

    def about(self, identifier: str) -> list[str]:
        """Return the first words of the lines about an id."""
        found = [text for text, facts in self.lines if identifier in facts.get("ids", ())]  # type: ignore[operator]
        return [text.split(" ")[0] for text in found]


@pytest.fixture
def lines() -> Iterator[_Lines]:
    """The log lines of adwarm, from DEBUG on."""
    handler, logger = _Lines(), logging.getLogger("adwarm")
    level = logger.level
    logger.addHandler(handler)
    logger.setLevel(logging.DEBUG)
    yield handler
    logger.removeHandler(handler)
    logger.setLevel(level)


def _steps(found: list[TraceStep]) -> list[str]:
    return [step.step for step in found]


def test_a_planned_warm_is_followed(harness: PrefetchHarness, lines: _Lines) -> None:
    """The id of a warm is in the lines of its call, its storing and its end; `trace` shows plan, fetch and entry."""
    warm = PlannedWarm(key=KEY, reason=WarmReason.PREDICTED_OPEN, decided_at=NOW, warm_at=NOW)
    other = PlannedWarm(key=ReportKey("act_2", "yesterday"), reason=WarmReason.STRATEGY, decided_at=NOW, warm_at=NOW)
    warms.replace_plan(harness.engine, RUN, [warm, other])
    jobs.start(harness.engine, RUN, "dag", 2, NOW)
    first, second = warms.list_by_run(harness.engine, RUN)
    warm_batch(harness.prefetch, RUN, 0)

    assert {"call", "stored", "act_1"} <= set(lines.about(f"warm-{first.id}"))
    assert "act_2" not in lines.about(f"warm-{first.id}")
    assert {facts.get("run") for _, facts in lines.lines if facts.get("ids")} == {RUN}
    found = trace(harness.prefetch.context, f"warm-{first.id}")
    assert _steps(found) == ["planned", "fetched", "stored"]
    assert RUN in found[0].detail
    assert "by this fetch" in found[2].detail
    assert {step.id for step in trace(harness.prefetch.context, RUN)} == {RUN, f"warm-{first.id}", f"warm-{second.id}"}


def test_a_request_is_followed(harness: PrefetchHarness, lines: _Lines) -> None:
    """The id of a reader's request is in the log lines too, and an error on the way is a step of its own."""
    attempts: list[FetchUnit] = []

    def answer(unit: FetchUnit) -> ResultPage:
        attempts.append(unit)
        raise Transient("the platform had a moment")

    harness.source.script = {"act_1": answer}
    harness.clock.set(database_now(harness.engine))  # the queue goes by the database's clock
    queue = RequestQueue(harness.engine, harness.settings.backpressure, owner="test")
    ticket = queue.enqueue(KEY, Priority.HIGH)
    QueueWorker(harness.prefetch, queue).drain_batch(DrainResult())

    name = f"request-{ticket.id}"
    assert attempts
    assert "call" in lines.about(name)
    assert _steps(trace(harness.prefetch.context, name))[:2] == ["requested", "error"]


def test_a_later_fetch_is_told_apart(harness: PrefetchHarness) -> None:
    """When the entry was fetched again since, the trace says that it is of another fetch."""
    warm = PlannedWarm(key=KEY, reason=WarmReason.STRATEGY, decided_at=NOW, warm_at=NOW)
    warms.replace_plan(harness.engine, RUN, [warm])
    (planned,) = warms.list_by_run(harness.engine, RUN)
    assert _steps(trace(harness.prefetch.context, f"warm-{planned.id}")) == ["planned", "fetched"]
    warm_batch(harness.prefetch, RUN, 0)
    harness.clock.sleep(8 * 3600)
    harness.prefetch.run([KeyRequest(KEY)], Priority.LOW)
    found = trace(harness.prefetch.context, f"warm-{planned.id}")
    assert "a later or earlier fetch" in found[-1].detail


@given(text=st.text(max_size=30).filter(lambda text: "/" not in text and not text.startswith(("warm-", "request-"))))
def test_what_is_no_id_is_refused(text: str) -> None:
    """Any other text is an error that says how an id looks, before anything is read."""
    with pytest.raises(BadRequest, match="is not an id"):
        trace(Context(None, None, None), text)  # type: ignore[arg-type]  # nothing is read


def test_an_unknown_id_is_said(harness: PrefetchHarness) -> None:
    """An id that no row has is an error."""
    for text in ("warm-9", "request-9", "dag/none"):
        with pytest.raises(NotFound, match="nothing has the id"):
            trace(harness.prefetch.context, text)
