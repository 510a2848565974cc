"""A retry budget: retries stay a small part of the first tries, so that retrying never doubles an outage.

Every first try earns a fraction of a retry; a few are there from the start, so that a quiet worker may retry at all.
"""

import threading

_RESERVE = 10.0
_MOST = 100.0


class RetryBudget:
    """Retries that this process may still make. Safe to share between threads.

    Args:
        ratio: retries earned per first try; 0 means that nothing is ever retried.
    """

    def __init__(self, ratio: float) -> None:
        self._ratio = ratio
        self._balance = _RESERVE if ratio > 0 else 0.0
        self._lock = threading.Lock()

    def record_first_attempt(self) -> None:
        """Earn for a first try."""
        with self._lock:
            self._balance = min(_MOST, self._balance + self._ratio)

    def try_acquire(self) -> bool:
        """Take one retry; False when the budget is used up."""
        with self._lock:
            # Ten tenths add up to a hair below one.
            if self._balance < 1 - 1e-9:
                return False
            self._balance -= 1
            return True
