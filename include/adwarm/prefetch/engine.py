"""The batch engine: accounts side by side in threads, each key with its own outcome, no failure without a reason.

Nothing in here knows Airflow. A batch that is cut off loses nothing: what was published stays, a rerun finds it fresh,
and a report that was being made is taken up again.
"""

import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field

from sqlalchemy import Engine

from adwarm.backpressure import Admission
from adwarm.clock import Clock
from adwarm.model import Priority
from adwarm.prefetch.account_run import AccountRun
from adwarm.prefetch.crew import Crew
from adwarm.prefetch.outcome import BatchReport, KeyOutcome, Wanted
from adwarm.prefetch.polling import ReportWatch
from adwarm.recovery import RecoveryPipeline
from adwarm.settings import Settings
from adwarm.sources.protocol import InsightsSource
from adwarm.store import denials
from adwarm.store.objects import ObjectStore

Progress = Callable[[Sequence[KeyOutcome]], None]


@dataclass
class PrefetchEngine:
    """Makes keys fresh. Safe to use from one thread at a time; it brings its own worker threads.

    Attributes:
        make_source: builds the source of accounts that belong to no other connection; called once per thread.
        owner: names this worker in leases and grants.
        sources: builds the sources of further connections, by name; each account is read by its own.
        release: called when a batch is done, to give back what admission still holds for this worker.
    """

    engine: Engine
    objects: ObjectStore
    settings: Settings
    make_source: Callable[[], InsightsSource]
    admission: Admission
    pipeline: RecoveryPipeline
    clock: Clock
    owner: str
    sources: Mapping[str, Callable[[], InsightsSource]] = field(default_factory=dict)
    release: Callable[[], None] = field(default=lambda: None)
    _local: threading.local = field(default_factory=threading.local)

    def run(
        self,
        wanted: Sequence[Wanted],
        priority: Priority,
        *,
        wait_seconds: float | None = None,
        progress: Progress | None = None,
    ) -> BatchReport:
        """Make every key in `wanted` fresh and return the outcome of each, in order.

        Args:
            wanted: the keys; keys of one account share its requests.
            priority: the class in which calls are admitted.
            wait_seconds: how long a call may wait for admission, and the batch for reports once nothing else is left to
                do; the setting by default. A report that takes longer ends as parked and is taken up by the next run.
            progress: called from several threads as accounts finish.
        """
        groups: dict[tuple[str, str], list[Wanted]] = {}
        for item in wanted:
            groups.setdefault((item.key.account_id, item.key.report), []).append(item)
        wait = self.settings.backpressure.timeout_seconds if wait_seconds is None else wait_seconds
        dead: set[str] = set()
        runs = [AccountRun(self, group, priority, wait, dead, progress) for group in groups.values()]
        crew = Crew(self.settings.workers, wait, self.clock, lambda: self._watch(priority), self.source)
        try:
            by_item = {id(outcome.wanted): outcome for outcome in crew.carry(runs)}
        finally:
            self.release()
        return BatchReport([by_item[id(item)] for item in wanted])

    def source(self, connection: str) -> InsightsSource:
        """Return the source of a connection, as made for the calling thread."""
        made: dict[str, InsightsSource] = self._local.__dict__.setdefault("sources", {})
        if connection not in made:
            source = made[connection] = self.sources.get(connection, self.make_source)()
            denials.lift_outdated(self.engine, source.connection, source.credential)
        return made[connection]

    def _watch(self, priority: Priority) -> ReportWatch:
        return ReportWatch(self.admission, self.clock, priority, self.settings.source)
