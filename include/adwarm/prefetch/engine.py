"""The batch engine: accounts side by side in threads, each key with its own outcome, no failure without a reason.

Nothing in here knows Airflow. A batch that is cut off loses nothing: what was published stays, and a rerun finds it
fresh.
"""

import threading
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field

from sqlalchemy import Engine

from adwarm.backpressure import Admission
from adwarm.clock import Clock
from adwarm.errors import AdwarmError, Denied, Refused, Throttled, TokenDead
from adwarm.model import Account, Actor, Priority, was_meant
from adwarm.prefetch.account_job import AccountJob
from adwarm.prefetch.fetching import Fetcher
from adwarm.prefetch.outcome import BatchReport, KeyOutcome, KeyStatus, Wanted
from adwarm.recovery import RecoveryPipeline
from adwarm.settings import Settings
from adwarm.sources.protocol import InsightsSource
from adwarm.store import accounts, entries, traffic
from adwarm.store.objects import ObjectStore

Progress = Callable[[Sequence[KeyOutcome]], None]


@dataclass
class PrefetchEngine:
    """Makes keys fresh. Safe to use from one thread at a time; it brings its own worker threads.

    Attributes:
        make_source: builds a source; called once per worker thread.
        owner: names this worker in leases and grants.
    """

    engine: Engine
    objects: ObjectStore
    settings: Settings
    make_source: Callable[[], InsightsSource]
    admission: Admission
    pipeline: RecoveryPipeline
    clock: Clock
    owner: str
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
            wait_seconds: how long a call may wait for admission, the setting by default.
            progress: called from worker threads as accounts finish.
        """
        groups: dict[tuple[str, str], list[Wanted]] = {}
        for item in wanted:
            groups.setdefault((item.key.account_id, item.key.report), []).append(item)
        token_dead = threading.Event()
        wait = self.settings.backpressure.timeout_seconds if wait_seconds is None else wait_seconds

        def work(group: list[Wanted]) -> list[KeyOutcome]:
            outcomes = self._account(group, priority, wait, token_dead)
            self._count(outcomes)
            if progress:
                progress(outcomes)
            return outcomes

        with ThreadPoolExecutor(max_workers=self.settings.workers, thread_name_prefix="prefetch") as pool:
            finished = list(pool.map(work, groups.values()))
        by_item = {id(outcome.wanted): outcome for outcomes in finished for outcome in outcomes}
        return BatchReport([by_item[id(item)] for item in wanted])

    def _account(
        self, group: list[Wanted], priority: Priority, wait_seconds: float, token_dead: threading.Event
    ) -> list[KeyOutcome]:
        account_id, report = group[0].key.account_id, group[0].key.report
        if token_dead.is_set():
            return self._failed(group, KeyStatus.FAILED, "the access token is dead; renew it in the connection", 0)
        fetcher = Fetcher(self._source(), self.admission, self.pipeline, self.clock, priority, wait_seconds)
        try:
            account = self._known(account_id, fetcher)
            if account.status == "denied":
                return self._failed(group, KeyStatus.DENIED, "the account was denied to this token before", 0)
            job = AccountJob(self.engine, self.objects, self.settings, fetcher, account, report, self._thread_owner())
            return job.run(group)
        except AdwarmError as error:
            if isinstance(error, TokenDead):
                token_dead.set()
            return self._explain(group, error, fetcher.requests)

    def _count(self, outcomes: list[KeyOutcome]) -> None:
        """Add an account's calls to the traffic of the hour, under the actor that made them."""
        counts = {
            "upstream_calls": sum(outcome.requests for outcome in outcomes),
            "throttles": int(any(outcome.status is KeyStatus.PARKED for outcome in outcomes)),
            "errors": int(any(outcome.status in {KeyStatus.FAILED, KeyStatus.STALE} for outcome in outcomes)),
        }
        if any(counts.values()):
            account_id = outcomes[0].wanted.key.account_id
            traffic.add(self.engine, self.clock.now(), account_id, Actor.WARMER.value, **counts)

    def _explain(self, group: list[Wanted], error: AdwarmError, requests: int) -> list[KeyOutcome]:
        if isinstance(error, Denied):
            self._deny(error)
            return self._failed(group, KeyStatus.DENIED, str(error), requests)
        if isinstance(error, Throttled):
            seconds = max(0.0, (error.until - self.clock.now()).total_seconds())
            return self._failed(group, KeyStatus.PARKED, str(error), requests, seconds)
        retry_after = error.retry_after if isinstance(error, Refused) else None
        return self._failed(group, KeyStatus.FAILED, str(error), requests, retry_after)

    def _deny(self, error: Denied) -> None:
        """Keep the verdict, also of an account that was never told about; its zone stays a guess."""
        zone, now = self.settings.default_zone, self.clock.now()
        accounts.discover(self.engine, [Account(error.account_id, zone, zone, currency="")], now)
        accounts.mark(self.engine, error.account_id, "denied", str(error), now)

    def _failed(
        self, group: list[Wanted], status: KeyStatus, reason: str, requests: int, retry_after: float | None = None
    ) -> list[KeyOutcome]:
        """Return outcomes for keys that could not be fetched; one that still has an old entry ends as stale."""
        first, zone = group[0].key, self.settings.default_zone
        kept = entries.listing(self.engine, first.account_id) if status is KeyStatus.FAILED else []
        account = accounts.get(self.engine, first.account_id) or Account(first.account_id, zone, zone)
        spec = self.settings.spec(first.report)
        outcomes = []
        for number, item in enumerate(group):
            stale = any(was_meant(entry.key, item.key, account, spec, entry.fetched_at) for entry in kept)
            outcomes.append(
                KeyOutcome(
                    item,
                    KeyStatus.STALE if stale else status,
                    requests=requests if number == 0 else 0,
                    reason=f"{reason}; the older answer is kept and marked stale" if stale else reason,
                    retry_after=retry_after,
                )
            )
        return outcomes

    def _known(self, account_id: str, fetcher: Fetcher) -> Account:
        """Return the account, asking the upstream for its zone and currency the first time."""
        found = accounts.get(self.engine, account_id)
        if found is not None and (found.is_told or found.status == "denied"):
            return found
        told = fetcher.call(account_id, lambda: fetcher.source.account(account_id))
        accounts.put(self.engine, [told], self.clock.now())
        return accounts.get(self.engine, account_id) or told

    def _source(self) -> InsightsSource:
        if not hasattr(self._local, "source"):
            self._local.source = self.make_source()
        source: InsightsSource = self._local.source
        return source

    def _thread_owner(self) -> str:
        return f"{self.owner}/{threading.get_ident()}"
