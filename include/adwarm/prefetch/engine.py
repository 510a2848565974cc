"""The batch engine: accounts side by side in threads, each key with its own outcome, no failure without a reason.

Nothing in here knows Airflow. A batch that is cut off loses nothing: what was published stays, a rerun finds it fresh,
and an async report that was being made is taken up again.
"""

from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

from adwarm.model import Priority
from adwarm.prefetch.account_fetch import AccountFetch
from adwarm.prefetch.async_reports import ReportPoller
from adwarm.prefetch.batch import Batch
from adwarm.prefetch.batch_result import BatchResult, KeyOutcome, KeyRequest
from adwarm.prefetch.context import FetchContext
from adwarm.prefetch.report_schedule import ReportSchedule

Progress = Callable[[Sequence[KeyOutcome]], None]


@dataclass
class PrefetchEngine(FetchContext):
    """Makes keys fresh. Safe to use from one thread at a time; it brings its own worker threads."""

    def run(
        self,
        requests: Sequence[KeyRequest],
        priority: Priority,
        *,
        wait_seconds: float | None = None,
        progress: Progress | None = None,
    ) -> BatchResult:
        """Make every key in `wanted` fresh and return the outcome of each, in order.

        Args:
            wanted: the keys; keys of one account share its requests.
            priority: the class in which calls are admitted.
            wait_seconds: how long a call may wait for admission, and the batch for reports once nothing else is left to
                do; the setting by default. A report that takes longer ends as parked and is taken up by the next run.
            progress: called from several threads as accounts finish.
        """
        groups: dict[tuple[str, str], list[KeyRequest]] = {}
        for item in requests:
            groups.setdefault((item.key.account_id, item.key.report), []).append(item)
        batch = self._batch(priority, wait_seconds)
        fetches = [AccountFetch(self, batch, group, progress) for group in groups.values()]
        threads = max(1, min(len(fetches), max(self.settings.max_threads, self.settings.workers)))
        by_item: dict[int, KeyOutcome] = {}
        try:
            with ThreadPoolExecutor(threads, thread_name_prefix="prefetch") as pool:
                futures = [pool.submit(fetch.run) for fetch in fetches]
                batch.supervise(futures, threads)
                by_item = {id(outcome.request): outcome for future in futures for outcome in future.result()}
        finally:
            self.release_grants()
        return BatchResult([by_item[id(item)] for item in requests])

    def _batch(self, priority: Priority, wait_seconds: float | None) -> Batch:
        settings = self.settings
        wait = settings.backpressure.timeout_seconds if wait_seconds is None else wait_seconds

        def make_watch() -> ReportSchedule:
            return ReportSchedule(self.admission, self.clock, priority, settings.source)

        poller = ReportPoller(self.clock, wait, make_watch, self.get_source)
        return Batch(priority, wait, poller, settings.workers, settings.batch_seconds, settings.account_seconds)
