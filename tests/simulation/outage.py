"""An outage of the whole platform, through the real recovery pipeline and the real admission, in virtual time.

Workers fetch ten thousand keys; from a minute on, every call fails for sixty seconds. Readers open reports all the time
and get the stored entry when the platform does not answer. Run as `python -m tests.simulation.outage`.
"""

import heapq
import sys
import time
from dataclasses import dataclass, field
from datetime import timedelta
from itertools import count
from random import Random

from adwarm.backpressure import CallOutcomeKind, CallRequest, acquire_grant
from adwarm.foundation.circuit import BreakerState
from adwarm.foundation.errors import AdwarmError, NoCapacity, Refused, Transient
from adwarm.model import Priority, Scope, ScopeKind
from adwarm.recovery import Call, ErrorEvent, Fallback, IsolationTracker, RecoveryPipeline
from adwarm.settings import BackpressureSettings, RecoverySettings
from graph_simulator.fault_profile import QuotaSetting
from tests.benchmarks.measure import save_results
from tests.simulation.local_admission import LocalAdmission
from tests.support.gate_rows import list_isolated
from tests.support.memory_recovery import MemoryGates, memory_options

from .agenda import EventScheduler
from .platform import APP, PlatformRules, SimulatedPlatform
from .virtual_threads import VirtualThreads

START = 1_764_072_000.0
KEYS = 10_000
ACCOUNTS = 2_000
WORKERS = 40
READERS = 2
OUTAGE = (60.0, 120.0)
READ_EVERY_SECONDS = 0.5
PATIENCE_SECONDS = 30.0
FAILED_PAUSE_SECONDS = 5.0
WINDOW_SECONDS = 5.0
MOST_CALLS_PER_FIRST_TRY = 1.1
THROUGHPUT_KEPT = 0.95
RECOVERED_WITHIN_SECONDS = 10.0
SOURCE = "meta"


@dataclass
class Reads:
    """What readers were answered during the outage.

    Attributes:
        answered: reads that began during the outage.
        stale: those that were answered with an older entry, its age and a reason.
        slowest_seconds: the longest that one of them took.
    """

    answered: int = 0
    stale: int = 0
    slowest_seconds: float = 0.0


@dataclass
class OutageResult:
    """The figures of the simulation.

    Attributes:
        fetched: keys that were fetched, each once.
        first_tries: runs of the pipeline that reached the platform.
        calls: calls at the platform.
        calls_for_keys: those of the workers; the others are the readers'.
        failed_calls: those that failed.
        normal_rate: keys fetched per second before the outage.
        first_good_probe: seconds from the end of the outage to the first call that succeeded.
        recovered_seconds: seconds from that call until the rate was back at 95 % of the normal one.
        most_isolated: the most scopes that were isolated at the same time.
        reads: what readers were answered.
    """

    fetched: int
    first_tries: int
    calls: int
    calls_for_keys: int
    failed_calls: int
    normal_rate: float
    first_good_probe: float
    recovered_seconds: float
    most_isolated: int
    reads: Reads

    @property
    def calls_per_first_try(self) -> float:
        """How much retries add to the load."""
        return self.calls / self.first_tries

    @property
    def calls_per_key(self) -> float:
        """How many calls the outage costs in all; keys that failed and were tried again later included."""
        return self.calls_for_keys / self.fetched

    @property
    def is_good(self) -> bool:
        """Whether nothing is lost, the load is bounded, and the rate and the readers' answers are as promised."""
        return (
            max(self.calls_per_first_try, self.calls_per_key) <= MOST_CALLS_PER_FIRST_TRY
            and self.recovered_seconds <= RECOVERED_WITHIN_SECONDS
            and self.reads.stale == self.reads.answered > 0
            and self.most_isolated == 0
        )


class EventList:
    """Errors in memory, those that would be counted for alerts too."""

    def __init__(self) -> None:
        self.events: list[ErrorEvent] = []

    def record(self, event: ErrorEvent) -> None:
        """Add the event."""
        self.events.append(event)

    def observe(self, event: ErrorEvent) -> None:
        """Count nothing: alerts are not part of the simulation."""

    def raise_once(self, event: ErrorEvent) -> None:
        """Raise nothing."""


@dataclass
class Simulation:
    """Workers, readers and a platform that fails for a while.

    Attributes:
        waiting: keys to fetch, each with the time from which it may be tried.
        fetched_at: when each key was fetched, in seconds from the beginning.
    """

    keys: int
    seed: int
    waiting: list[tuple[float, int, int]] = field(default_factory=list)
    fetched_at: dict[int, float] = field(default_factory=dict)
    reads: Reads = field(default_factory=Reads)
    first_tries: int = 0
    calls: int = 0
    calls_for_keys: int = 0
    failed_calls: int = 0
    most_isolated: int = 0
    successes: list[float] = field(default_factory=list)

    def __post_init__(self) -> None:
        self.scheduler = EventScheduler(START)
        self.clock = VirtualThreads(self.scheduler)
        self.rng = Random(self.seed)
        quota = QuotaSetting(base_calls=10_000_000, cpu_seconds=1e9, wall_seconds=1e9, score=False)
        # A small spread: calls that are slow by chance would lower the adaptive limit, which is not the subject here.
        rules = PlatformRules(
            quota, sends_usage=False, slots=2 * WORKERS, spread=0.1, outages=(OUTAGE,), outage_share=1.0
        )
        self.platform = SimulatedPlatform(rules, START, Random(self.seed + 1))
        limits = BackpressureSettings(
            max_concurrent=2 * WORKERS, per_account_concurrent=4, rate_per_second=1_000, burst=1_000
        )
        self.admission = LocalAdmission(limits, rng=Random(self.seed + 2), time=self.scheduler.time)
        self.journal, states = EventList(), MemoryGates()
        settings = RecoverySettings()
        self.isolation = IsolationTracker(states, settings, self.clock)
        options = memory_options(
            self.clock, alerts=self.journal, gates=states, is_source_failing=self._is_source_failing
        )
        self.pipeline = RecoveryPipeline(settings, self.journal, self.clock, Random(self.seed + 3), **options)
        self._order = count()

    @property
    def passed(self) -> float:
        """Seconds since the beginning."""
        return self.scheduler.now - START

    def run(self) -> OutageResult:
        """Run until every key is fetched, and return the figures."""
        for number in range(self.keys):
            heapq.heappush(self.waiting, (0.0, next(self._order), number))
        for _ in range(WORKERS):
            self.clock.start(self._work)
        for _ in range(READERS):
            self.clock.start(self._read)
        self.clock.start(self._watch)
        while len(self.fetched_at) < self.keys and self.passed < 3_600:
            self.scheduler.run(self.scheduler.now + 10)
        return self._result()

    def _is_source_failing(self, source: str) -> bool:
        breaker = self.admission.budget.breakers.get(source)
        return breaker is not None and breaker.state is not BreakerState.CLOSED

    def _work(self) -> None:
        """Fetch keys until all are fetched; one that was not admitted or failed is tried again later."""
        while len(self.fetched_at) < self.keys:
            if not self.waiting or self.waiting[0][0] > self.passed:
                self.clock.sleep(0.1)
                continue
            number = heapq.heappop(self.waiting)[2]
            account = f"act_{number % ACCOUNTS}"
            try:
                self._call(account, Priority.LOW, PATIENCE_SECONDS)
            except AdwarmError as error:
                pause = error.retry_after if isinstance(error, Refused) else FAILED_PAUSE_SECONDS
                if isinstance(error, NoCapacity):
                    pause = max(0.0, error.until.timestamp() - self.scheduler.now)
                heapq.heappush(self.waiting, (self.passed + pause, next(self._order), number))
            else:
                self.fetched_at[number] = self.passed

    def _call(self, account: str, priority: Priority, wait: float, stored: Fallback[str] | None = None) -> str | None:
        """Run one fetch through the pipeline; return the reason of a degraded result."""
        before = 0

        def operation() -> str:
            nonlocal before
            request = CallRequest((Scope(ScopeKind.ACCOUNT, account), APP), priority, SOURCE)
            with acquire_grant(self.admission, self.clock, request, timeout_seconds=wait):
                self.first_tries += before == 0
                before += 1
                self.calls_for_keys += stored is None
                return self._ask_platform(account)

        fallbacks = [] if stored is None else [stored]
        outcome = self.pipeline.run(operation, call=Call(SOURCE, "main", account), fallbacks=fallbacks)
        if outcome.is_degraded and outcome.as_of is not None:
            return outcome.reason
        return None

    def _ask_platform(self, account: str) -> str:
        self.calls += 1
        answer = self.platform.start(account, self.scheduler.now)
        self.clock.sleep(answer.seconds)
        self.platform.finish()
        if answer.outcome.kind is not CallOutcomeKind.OK:
            self.failed_calls += 1
            raise Transient("the platform is down", code="2")
        self.successes.append(self.passed)
        return "rows"

    def _read(self) -> None:
        """Open a report twice a second: fresh from the platform, or the stored entry with its age and a reason."""
        yesterday = self.clock.now() - timedelta(days=1)
        stored = Fallback("entry", lambda: "older rows", 1.0, as_of=lambda _: yesterday)
        while len(self.fetched_at) < self.keys:
            began = self.passed
            reason = self._call(f"act_{self.rng.randrange(ACCOUNTS)}", Priority.CRITICAL, 1.0, stored)
            # A read whose call may still have succeeded, or that ended after the outage, proves nothing.
            if OUTAGE[0] <= began and self.passed < OUTAGE[1]:
                self.reads.answered += 1
                self.reads.stale += bool(reason)
                self.reads.slowest_seconds = max(self.reads.slowest_seconds, self.passed - began)
            self.clock.sleep(READ_EVERY_SECONDS)

    def _watch(self) -> None:
        while len(self.fetched_at) < self.keys:
            self.most_isolated = max(self.most_isolated, len(list_isolated(self.isolation)))
            self.clock.sleep(1.0)

    def _result(self) -> OutageResult:
        normal = self._rate(OUTAGE[0] / 3, OUTAGE[0])
        probe = min((at for at in self.successes if at > OUTAGE[1]), default=float("inf"))
        steps = [probe + step / 10 for step in range(600)]
        back = next(
            (at for at in steps if self._rate(at, at + WINDOW_SECONDS) >= THROUGHPUT_KEPT * normal), float("inf")
        )
        return OutageResult(
            fetched=len(self.fetched_at),
            first_tries=self.first_tries,
            calls=self.calls,
            calls_for_keys=self.calls_for_keys,
            failed_calls=self.failed_calls,
            normal_rate=normal,
            first_good_probe=probe - OUTAGE[1],
            recovered_seconds=back - probe if back < float("inf") else float("inf"),
            most_isolated=self.most_isolated,
            reads=self.reads,
        )

    def _rate(self, start: float, end: float) -> float:
        """Return the keys fetched per second between two times."""
        return sum(start <= at < end for at in self.fetched_at.values()) / (end - start)


def simulate_outage(keys: int = KEYS, seed: int = 7) -> OutageResult:
    """Simulate the outage and return its figures."""
    return Simulation(keys, seed).run()


def main() -> int:
    """Run, print a table, write `.adwarm/bench/outage.json`, and return the exit code."""
    started = time.perf_counter()
    result = simulate_outage()
    reads = result.reads
    good = result.fetched == KEYS and result.is_good
    save_results(
        "outage",
        f"{KEYS:,} keys of {ACCOUNTS:,} accounts, every call fails for {OUTAGE[1] - OUTAGE[0]:.0f} s",
        [
            {"what": "keys fetched", "value": result.fetched, "wanted": f"{KEYS}"},
            {"what": "first tries", "value": result.first_tries, "wanted": "-"},
            {"what": "calls", "value": result.calls, "wanted": "-"},
            {"what": "calls that failed", "value": result.failed_calls, "wanted": "-"},
            {
                "what": "calls per first try",
                "value": round(result.calls_per_first_try, 4),
                "wanted": f"<= {MOST_CALLS_PER_FIRST_TRY}",
            },
            {
                "what": "calls per key",
                "value": round(result.calls_per_key, 4),
                "wanted": f"<= {MOST_CALLS_PER_FIRST_TRY}",
            },
            {"what": "keys per second before", "value": round(result.normal_rate, 1), "wanted": "-"},
            {"what": "seconds to the first good probe", "value": round(result.first_good_probe, 1), "wanted": "-"},
            {
                "what": "seconds from it to 95 % of the rate",
                "value": round(result.recovered_seconds, 1),
                "wanted": f"<= {RECOVERED_WITHIN_SECONDS:.0f}",
            },
            {"what": "reads during the outage", "value": reads.answered, "wanted": "> 0"},
            {"what": "of them stale with a reason", "value": reads.stale, "wanted": f"{reads.answered}"},
            {"what": "slowest of them, seconds", "value": round(reads.slowest_seconds, 1), "wanted": "-"},
            {"what": "scopes isolated at most", "value": result.most_isolated, "wanted": "0"},
            {"what": "seconds of computing", "value": round(time.perf_counter() - started, 1), "wanted": "-"},
        ],
    )
    print("PASS" if good else "FAIL")
    return 0 if good else 1


if __name__ == "__main__":
    sys.exit(main())
