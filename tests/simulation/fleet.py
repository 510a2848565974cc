"""Workers that drain the queue under the budget, as the batch engine does, and that die and are replaced."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from adwarm.backpressure import CallOutcomeKind, CallRequest, Grant, Rejected
from adwarm.model import Priority, Scope, ScopeKind
from adwarm.store.requests import QueuedRequest
from tests.simulation.local_admission import LocalAdmission

from .agenda import EventScheduler
from .memory_queue import MemoryQueue
from .platform import APP, CallResult, SimulatedPlatform
from .watch import InvariantChecker

SOURCE = "meta"
PATIENCE_SECONDS = 30.0
SHORTEST_SLEEP_SECONDS = 0.001


@dataclass
class FleetState:
    """Everything the workers share."""

    scheduler: EventScheduler
    platform: SimulatedPlatform
    admission: LocalAdmission
    checker: InvariantChecker
    chains: dict[str, tuple[Scope, ...]] = field(default_factory=dict)
    requests_in_admission: dict["WorkerThread", QueuedRequest] = field(default_factory=dict)

    def chain(self, account: str) -> tuple[Scope, ...]:
        """Return the scopes that a call about the account draws on."""
        if account not in self.chains:
            self.chains[account] = (Scope(ScopeKind.ACCOUNT, account), APP)
        return self.chains[account]

    def classes_asking(self) -> set[Priority]:
        """Return the classes for which a living worker requests admission."""
        return {request.priority for thread, request in self.requests_in_admission.items() if thread.worker.alive}


@dataclass
class WorkQueue:
    """A queue, and its idle threads."""

    queue: MemoryQueue
    idle: list["WorkerThread"] = field(default_factory=list)

    def wake(self) -> None:
        """Let one idle thread check the queue."""
        while self.idle:
            thread = self.idle.pop()
            if thread.worker.alive:
                thread.take_next()
                return


@dataclass
class Worker:
    """A process. Its death ends its threads; calls that they began continue at the platform."""

    name: str
    alive: bool = True


@dataclass(eq=False)
class WorkerThread:
    """A thread of a worker: takes a request, requests admission, calls, and releases the grant."""

    world: FleetState
    work_queue: WorkQueue
    worker: Worker

    def take_next(self) -> None:
        """Take the next request, or become idle."""
        if not self.worker.alive:
            return
        now = self.world.scheduler.now
        taken = self.work_queue.queue.dequeue(self.worker.name, now)
        if not taken:
            self.work_queue.idle.append(self)
            return
        self.world.checker.record(now, "take", taken[0].id, taken[0].attempts)
        self.request_admission(taken[0], now)

    def request_admission(self, request: QueuedRequest, since: float) -> None:
        """Request admission; sleep through a short wait, else put the request back until then."""
        if not self.worker.alive:
            self.world.requests_in_admission.pop(self, None)
            return
        world, now = self.world, self.world.scheduler.now
        chain = world.chain(request.key.account_id)
        decision = world.admission.admit(CallRequest(chain, request.priority, SOURCE))
        world.requests_in_admission[self] = request
        if isinstance(decision, Grant):
            self._call(request, decision)
            return
        if isinstance(decision, Rejected):
            self._put_back(request, decision.retry_after)
            return
        if now + decision.seconds > since + PATIENCE_SECONDS or now + decision.seconds >= request.deadline:
            self._put_back(request, decision.seconds)
            return
        world.scheduler.schedule(
            max(decision.seconds, SHORTEST_SLEEP_SECONDS), lambda: self.request_admission(request, since)
        )

    def _put_back(self, request: QueuedRequest, seconds: float) -> None:
        world, now = self.world, self.world.scheduler.now
        world.requests_in_admission.pop(self, None)
        self.work_queue.queue.requeue(request, "not admitted", now, retry_after=seconds)
        world.checker.record(now, "back", request.id, round(seconds, 3))
        world.scheduler.schedule(seconds, self.work_queue.wake)
        self.take_next()

    def _call(self, request: QueuedRequest, grant: Grant) -> None:
        world, now = self.world, self.world.scheduler.now
        world.checker.on_admitted(grant.priority, world.classes_asking(), now)
        world.requests_in_admission.pop(self, None)
        world.checker.on_call_started(grant, now - request.enqueued_at, now)
        answer = world.platform.start(request.key.account_id, now)
        world.scheduler.schedule(answer.seconds, lambda: self._answered(request, grant, answer))

    def _answered(self, request: QueuedRequest, grant: Grant, answer: CallResult) -> None:
        world, now = self.world, self.world.scheduler.now
        world.platform.finish()
        if not self.worker.alive:
            return
        world.admission.release(grant, answer.outcome)
        world.checker.on_call_ended(grant, now, answer.outcome.kind)
        if answer.error is not None:
            world.checker.on_parked(answer.outcome.parked_scope or grant.scopes[0], answer.error.until.timestamp())
        self._write_down(request, answer)
        self.take_next()

    def _write_down(self, request: QueuedRequest, answer: CallResult) -> None:
        queue, now, outcome = self.work_queue.queue, self.world.scheduler.now, answer.outcome
        if outcome.kind is CallOutcomeKind.OK:
            queue.ack(request, now)
        elif outcome.kind is CallOutcomeKind.THROTTLED:
            queue.requeue(request, "throttled", now, retry_after=outcome.park_seconds)
            self.world.scheduler.schedule(outcome.park_seconds or 0.0, self.work_queue.wake)
        else:
            queue.requeue(request, str(outcome.kind), now)
            self.world.scheduler.schedule(queue.rules.backoff_seconds(request.attempts), self.work_queue.wake)


def start_workers(
    world: FleetState, work_queues: Sequence[WorkQueue], workers: int, threads: int
) -> Callable[[int], None]:
    """Start workers with `threads` per queue, and return a function that kills one; it is replaced a second later."""
    current: list[Worker] = [Worker("") for _ in range(workers)]

    def hire(index: int, generation: int) -> None:
        current[index] = Worker(f"w{index}.{generation}")
        for work_queue in work_queues:
            for _ in range(threads):
                WorkerThread(world, work_queue, current[index]).take_next()

    def kill(index: int) -> None:
        current[index].alive = False
        generation = int(current[index].name.partition(".")[2]) + 1
        world.checker.record(world.scheduler.now, "killed", current[index].name)
        world.scheduler.schedule(1.0, lambda: hire(index, generation))
        for work_queue in work_queues:
            world.scheduler.schedule(work_queue.queue.rules.lease_seconds + 0.001, work_queue.wake)

    for index in range(workers):
        hire(index, 0)
    return kill
