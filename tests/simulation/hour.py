"""An hour of ten accounts, drawn from a seed: quotas, latencies, outages and deaths differ, the guarantees do not."""

from collections.abc import Sequence
from dataclasses import dataclass
from datetime import date, timedelta
from enum import StrEnum
from functools import partial
from random import Random

from adwarm.backpressure.request_queue import QueueRules
from adwarm.foundation.errors import Refused
from adwarm.model import Priority, ReportKey
from adwarm.settings import BackpressureSettings
from adwarm.store.requests import QueuedRequest, RequestStatus
from graph_simulator.fault_profile import QuotaSetting
from tests.simulation.local_admission import LocalAdmission

from .agenda import EventScheduler
from .fleet import FleetState, WorkQueue, start_workers
from .memory_queue import MemoryQueue
from .platform import PlatformRules, SimulatedPlatform
from .watch import InvariantChecker, InvariantViolation

START = 1_764_072_000.0
HOUR = 3_600.0
FIRST_DAY = date(2026, 1, 2)
WORKERS, HANDS = 2, 2
CROWD_RATE = 1.0
MINIMUM_CALLS = 500
ENDS_WITHIN_SECONDS = 1_000.0


class QuotaVisibility(StrEnum):
    """How callers know the limit: usage headers, a configured cap, not at all, or because the fleet's rate is it."""

    USAGE = "usage"
    CAP = "cap"
    NOTHING = "nothing"
    CROWD = "crowd"


@dataclass(frozen=True)
class HourScenario:
    """The parameters that a seed decides.

    Attributes:
        requests: requests in the hour, in equal parts by class.
        deaths: when a worker is killed, in seconds from the start.
    """

    seed: int
    accounts: int
    rules: PlatformRules
    settings: BackpressureSettings
    quota_visibility: QuotaVisibility
    requests: int
    deaths: tuple[float, ...]

    @property
    def is_crowded(self) -> bool:
        """Whether all classes compete for the fleet's rate, each with a queue and a worker of its own."""
        return self.quota_visibility is QuotaVisibility.CROWD


@dataclass(frozen=True, slots=True)
class HourResult:
    """The result of an hour."""

    seed: int
    digest: str
    calls: int
    served: int
    over_limit: int
    early: int
    completed: int
    windows: int


def draw_scenario(seed: int) -> HourScenario:
    """Return the hour of a seed."""
    rng = Random(seed)
    visibility = rng.choices(
        (QuotaVisibility.USAGE, QuotaVisibility.CAP, QuotaVisibility.NOTHING, QuotaVisibility.CROWD), (4, 3, 2, 1)
    )[0]
    calls = 100_000 if visibility is QuotaVisibility.CROWD else rng.randint(64, 80)
    quota = QuotaSetting(base_calls=calls, calls_per_ad=0, cpu_seconds=1e6, wall_seconds=1e6, score=False)
    out = rng.uniform(900, 3_000)  # after a crowd has gone
    rules = PlatformRules(
        quota,
        sends_usage=visibility is QuotaVisibility.USAGE,
        service_seconds=rng.uniform(0.5, 2.0),
        slots=rng.randint(2, 8),
        outages=((out, out + rng.uniform(20, 120)),) if rng.random() < 0.4 else (),
    )
    requests = rng.randint(630, 660) if visibility is QuotaVisibility.CROWD else rng.randint(550, 580)
    deaths = tuple(sorted(rng.uniform(100, 3_500) for _ in range(rng.randint(0, 3))))
    return HourScenario(seed, 10, rules, _settings(visibility, calls, rng), visibility, requests, deaths)


def _settings(visibility: QuotaVisibility, calls: int, rng: Random) -> BackpressureSettings:
    values = {"max_concurrent": rng.choice((10, 12, 20)), "rate_per_second": 5.0, "burst": 10, "queue_size": 60}
    if visibility is QuotaVisibility.CROWD:
        values |= {"per_account_concurrent": 4, "rate_per_second": CROWD_RATE, "burst": 2}
    if visibility is QuotaVisibility.CAP:
        values |= {"account_calls_per_window": calls}
    return BackpressureSettings(**values)


def simulate_hour(hour: HourScenario) -> HourResult:
    """Simulate the hour and return its result.

    Raises:
        InvariantViolation: an invariant was broken.
    """
    rng, agenda = Random(hour.seed + 1), EventScheduler(START)
    admission = LocalAdmission(hour.settings, rng=Random(hour.seed + 2), time=agenda.time)
    watch = InvariantChecker(hour.seed, admission.budget)
    platform = SimulatedPlatform(hour.rules, START, Random(hour.seed + 3))
    world = FleetState(agenda, platform, admission, watch)
    work_queues = [
        WorkQueue(MemoryQueue(QueueRules.from_settings(hour.settings))) for _ in range(4 if hour.is_crowded else 1)
    ]
    kill = start_workers(world, work_queues, *((1, 3) if hour.is_crowded else (WORKERS, HANDS)))
    for at in hour.deaths:
        agenda.schedule(at, lambda: kill(rng.randrange(1 if hour.is_crowded else WORKERS)))
    _ask(world, work_queues, hour, rng)
    agenda.run(START + HOUR)
    agenda.run(START + HOUR + ENDS_WITHIN_SECONDS)
    ended = _ended(work_queues, hour, agenda.now)
    _check_invariants(world, hour)
    completed = sum(item.status is RequestStatus.COMPLETED for item in ended)
    refused = sum(platform.refused.values())
    return HourResult(
        hour.seed, watch.digest, watch.calls, platform.served, refused, platform.early, completed, watch.windows
    )


def _ask(world: FleetState, work_queues: Sequence[WorkQueue], hour: HourScenario, rng: Random) -> None:
    """Schedule the requests of the hour, in equal parts by class; a crowd comes in its first minutes."""

    def ask(work_queue: WorkQueue, key: ReportKey, priority: Priority, wait: float | None) -> None:
        try:
            work_queue.queue.enqueue(key, priority, world.scheduler.now, wait)
        except Refused as refusal:
            world.checker.record(world.scheduler.now, "refused", priority, round(refusal.retry_after, 3))
            return
        work_queue.wake()

    within = hour.requests / CROWD_RATE / 1.5 if hour.is_crowded else HOUR
    for number in range(hour.requests):
        key = ReportKey(f"act_{rng.randrange(hour.accounts) + 1}", f"2026-01-01..{FIRST_DAY + timedelta(days=number)}")
        priority = Priority(rng.randrange(4))
        wait = 30.0 if priority is Priority.CRITICAL and rng.random() < 0.5 else None
        work_queue = work_queues[priority % len(work_queues)]
        world.scheduler.schedule(rng.uniform(0, within), partial(ask, work_queue, key, priority, wait))


def _ended(work_queues: Sequence[WorkQueue], hour: HourScenario, now: float) -> list[QueuedRequest]:
    """Return every accepted request; each of them must have ended."""
    for work_queue in work_queues:
        work_queue.queue.sweep(now)
    accepted = [item for work_queue in work_queues for item in work_queue.queue.requests.values()]
    if still := [item.id for item in accepted if not item.status.is_final]:
        raise InvariantViolation(f"seed {hour.seed}: {len(still)} requests never ended, the first of them {still[0]}")
    return accepted


def _check_invariants(world: FleetState, hour: HourScenario) -> None:
    """Check the platform's counts; callers that cannot know the limit reach it, and are not checked."""
    if hour.quota_visibility is QuotaVisibility.NOTHING:
        return
    if refused := sum(world.platform.refused.values()):
        raise InvariantViolation(f"seed {hour.seed}: {refused} calls were over a limit that was known")
    if world.platform.early:
        raise InvariantViolation(f"seed {hour.seed}: {world.platform.early} calls came before their time")
