"""A day of real work on simulated data: opens of a log that ends now are read, planned for, warmed and scored.

The page's pictures and `make up` begin with it, so that nothing is empty. The platform is a simulator.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from adwarm.fatigue.account_scores import score_accounts
from adwarm.foundation.clock import Clock, SystemClock, VirtualClock, floor_to
from adwarm.foundation.local_time import local_day
from adwarm.maintenance.steps import run_if_due
from adwarm.model import Mode, Priority, ReportKey
from adwarm.patterns.ingest.run import ingest
from adwarm.planning.decide import LIVE_DAG, decide
from adwarm.planning.warm_outcomes import mark_warm_outcomes
from adwarm.prefetch.batch_result import KeyRequest
from adwarm.prefetch.warm_batch import warm_batch
from adwarm.runtime import Runtime
from adwarm.store import jobs, warms
from dev.demo_day import Open, Readers, read_opens
from graph_simulator.server import SimulatorServer

STEP = timedelta(hours=1)
SETTINGS = {"planning": {"step_minutes": 60}, "backpressure": {"cpu_percent": 100, "memory_percent": 100}}
"""Settings for `open_runtime`: one plan a step, and the same work however loaded the machine is."""
MIN_OPENS = 10
"""Opens that are read at least: the example log has hardly any from 5:00 to 9:30 UTC."""
SCORED_ACCOUNTS = 4
_DAY = timedelta(days=1)


@dataclass(frozen=True)
class SimulatedDay:
    """Fills a store.

    Attributes:
        open_runtime: returns the objects of the installation, on a clock.
        platform: what the installation calls.
        zone: of the accounts.
        hours: hours of work before now; more where fewer than `MIN_OPENS` opens fall into them.
        unread: hours of work at the beginning, of `hours`, in which nobody reads: the first plan finds nothing stored.
        scored_days: days before today whose ads are scored.
    """

    open_runtime: Callable[[Clock], Runtime]
    platform: SimulatorServer
    zone: str = "UTC"
    hours: int = 2
    unread: int = 0
    scored_days: int = 30

    def read_log(self, log: str, now: datetime) -> tuple[list[Open], datetime]:
        """Return the opens of the last day, and the full hour at which the work begins."""
        opens = read_opens(log, self.open_runtime(VirtualClock(now)).settings, now - _DAY, now)
        return opens, floor_to(min(now - self.hours * STEP, opens[-MIN_OPENS].at), STEP)

    def work(self, opens: Sequence[Open], start: datetime, now: datetime) -> None:
        """Plan, warm and read hour by hour from `start` on, as the DAG and dashboards do."""
        clock = VirtualClock(start)
        runtime = self.open_runtime(clock)
        readers = Readers(runtime, clock)
        due = [item for item in opens if item.at >= start + self.unread * STEP]
        for moment in [start + n * STEP for n in range((now - start) // STEP + 1)]:
            readers.read_all([item for item in due if moment - STEP <= item.at < moment])
            clock.set(moment)
            self.platform.set_now(moment, frozen=True)
            ingest(runtime.context, moment, window=(moment - STEP, moment))
            _run_once(runtime, moment)
        readers.read_all([item for item in due if item.at >= moment])
        self.platform.set_now(now)
        mark_warm_outcomes(runtime.context, now)
        runtime.engine.dispose()

    def score(self, accounts: Sequence[str]) -> None:
        """Score the ads of accounts on each of the last days, from days that are fetched for it."""
        self._fetch_earlier_weeks(accounts)
        now = SystemClock().now() - STEP  # waiting for reports moves the clock
        runtime = self.open_runtime(_PlatformClock(now, self.platform))
        self.platform.set_now(now, frozen=True)
        keys = [ReportKey(account, name, "default") for account in accounts for name in ("last_90d", "last_7d")]
        runtime.prefetch_engine().run([KeyRequest(key) for key in keys], Priority.LOW)
        last = local_day(now, self.zone) - _DAY
        # What ads show is read for those that have scores; ads of one creative are then scored together on each day.
        score_accounts(runtime.context, [(account, last) for account in accounts], now)
        run_if_due(runtime.maintenance_parts(), "read_creatives", run_now=True)
        days = [last - back * _DAY for back in reversed(range(self.scored_days))]
        score_accounts(runtime.context, [(account, day) for day in days for account in accounts], now)
        runtime.engine.dispose()

    def _fetch_earlier_weeks(self, accounts: Sequence[str]) -> None:
        """Fetch the last week as of each of the days before: frequency comes from a week's summary alone."""
        now = SystemClock().now()
        clock = VirtualClock(now - self.scored_days * _DAY)
        runtime = self.open_runtime(clock)
        keys = [KeyRequest(ReportKey(account, "last_7d", "default")) for account in accounts]
        for back in range(self.scored_days - 1, 0, -1):
            clock.set(now - back * _DAY)
            self.platform.set_now(clock.now(), frozen=True)
            runtime.prefetch_engine().run(keys, Priority.LOW)
        runtime.engine.dispose()


@dataclass
class _PlatformClock(VirtualClock):
    """A virtual clock that takes the platform along: its reports are ready after a wait that takes no time."""

    platform: SimulatorServer

    def sleep(self, seconds: float) -> None:
        """Advance both by `seconds`."""
        super().sleep(seconds)
        self.platform.set_now(self.now(), frozen=True)


def _run_once(runtime: Runtime, moment: datetime) -> None:
    """Plan and warm as one run of the DAG does."""
    run_id = f"{LIVE_DAG}/scheduled__{moment:%Y-%m-%dT%H:%M:%S}+00:00"
    plan = decide(runtime.context, moment, run_id, Mode.LIVE)
    jobs.start(runtime.engine, run_id, LIVE_DAG, plan.warms if plan.batches else 0, moment)
    for number in range(plan.batches):
        warm_batch(runtime.prefetch_engine(), run_id, number)
    planned = warms.list_by_run(runtime.engine, run_id)
    jobs.finish(runtime.engine, run_id, moment + timedelta(seconds=20 + 2 * len(planned)))
    mark_warm_outcomes(runtime.context, moment)
