"""What the workers of these tests run: unmodified batches and drains, with the settings of their environment."""

import sys

from adwarm.prefetch.warm_batch import warm_batch
from adwarm.runtime import Runtime

RUN = "dag/1"


def run_batch() -> dict[str, int]:
    """Carry out the batch of the stored plan."""
    return warm_batch(Runtime().prefetch_engine(), RUN, 0).summary()


def list_modules() -> list[str]:
    """Carry out the batch, and return what is imported then."""
    run_batch()
    return sorted(sys.modules)
