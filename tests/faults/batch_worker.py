"""What the workers of these tests run: unmodified batches and drains, with the settings of their environment."""

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
