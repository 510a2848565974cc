"""What the workers of these tests run: unmodified batches and drains, with the settings of their environment."""

import os
import signal
import time
from typing import Any

from adwarm.backpressure import RequestQueue
from adwarm.prefetch.fetch_lease import FetchLease
from adwarm.prefetch.refresh import AccountRefresh
from adwarm.prefetch.warm_batch import reopen_batch, warm_batch
from adwarm.runtime import Runtime

RUN = "dag/1"


def run_batch() -> dict[str, int]:
    """Carry out the batch of the stored plan."""
    return warm_batch(Runtime().prefetch_engine(), RUN, 0).summary()


def retry_batch() -> dict[str, int]:
    """Carry out the batch as a task that Airflow tries again."""
    runtime = Runtime()
    reopen_batch(runtime.engine, RUN, 0, by_human=False)
    return warm_batch(runtime.prefetch_engine(), RUN, 0).summary()


def drain() -> dict[str, int]:
    """Drain the queue of requests for up to a minute."""
    return Runtime().queue_worker(4).drain(60).to_dict()


def wait_for_other_threads() -> None:
    """Keep the heartbeat from beginning a transaction: a process that is stopped inside one keeps its locks."""
    FetchLease.renew_if_due = lambda self: None  # type: ignore[method-assign]
    time.sleep(0.2)


STEPS = {
    "partitions": (AccountRefresh, "_publish_days"),
    "entries": (AccountRefresh, "_publish"),
    "ack": (RequestQueue, "ack"),
}
"""What a worker may stop at: the step that writes, just before it begins its transaction."""


def run_stopping(work: str, step: str) -> dict[str, int]:
    """Run the batch or the drain, and stop this process once, when it comes to the step."""
    owner, name = STEPS[step]
    original, has_stopped = getattr(owner, name), []

    def stop_first(self: Any, first: Any, *rest: Any) -> Any:
        if first and not has_stopped:
            has_stopped.append(True)
            wait_for_other_threads()
            os.kill(os.getpid(), signal.SIGSTOP)
        return original(self, first, *rest)

    setattr(owner, name, stop_first)
    return {"batch": run_batch, "drain": drain}[work]()
