"""What the workers of these tests run: unmodified batches and drains, with the settings of their environment."""

import signal
import sys
import threading
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


def stop_outside_transactions() -> None:
    """Stop this process while no thread of it is in a transaction: a stopped process keeps the locks of one.

    PostgreSQL ends such a transaction after a while; the lock of an SQLite file stays as long as the process.
    """
    FetchLease.renew_if_due = lambda self: None  # type: ignore[method-assign]
    pool, idle = Runtime().engine.pool, 0
    sys.setswitchinterval(5)  # no other thread runs between the last look and the signal
    while idle < 5:
        idle = 0 if pool.checkedout() else idle + 1  # type: ignore[attr-defined]
        time.sleep(0.01)
    while pool.checkedout():  # type: ignore[attr-defined]
        time.sleep(0.001)
    # Sent to this thread, which would otherwise run on until another one has handled the signal for all.
    signal.pthread_kill(threading.get_ident(), signal.SIGSTOP)
    sys.setswitchinterval(0.005)


STEPS = {
    "publication": (AccountRefresh, "_publish"),
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
            stop_outside_transactions()
        return original(self, first, *rest)

    setattr(owner, name, stop_first)
    return {"batch": run_batch, "drain": drain}[work]()
