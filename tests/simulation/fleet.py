"""Workers that drain the queue under the budget, as the batch engine does, and that die and come back."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from adwarm.backpressure import CallOutcomeKind, Grant, Granted, Rejected
from adwarm.backpressure.local_admission import LocalAdmission
from adwarm.model import Priority, Scope, ScopeKind
from adwarm.store.requests import QueuedRequest

from .agenda import Agenda
from .memory_queue import MemoryQueue
from .platform import APP, Answer, Platform
from .watch import Watch

SOURCE = "meta"
PATIENCE_SECONDS = 30.0
SHORTEST_SLEEP_SECONDS = 0.001


@dataclass
class World:
    """Everything the workers share."""

    agenda: Agenda
    platform: Platform
    admission: LocalAdmission
    watch: Watch
    chains: dict[str, tuple[Scope, ...]] = field(default_factory=dict)
    asking: dict["Hand", QueuedRequest] = field(default_factory=dict)

    def chain(self, account: str) -> tuple[Scope, ...]:
        """Return what a call about the account draws on."""
        if account not in self.chains:
            self.chains[account] = (Scope(ScopeKind.ACCOUNT, account), APP)
        return self.chains[account]

    def classes_asking(self) -> set[Priority]:
        """Return the classes of which a living worker asks to be let in."""
        return {request.priority for hand, request in self.asking.items() if hand.worker.alive}


@dataclass
class Desk:
    """A queue, and who has nothing to do there."""

    queue: MemoryQueue
    idle: list["Hand"] = field(default_factory=list)

    def wake(self) -> None:
        """Let one idle hand look at the queue."""
        while self.idle:
            hand = self.idle.pop()
            if hand.worker.alive:
                hand.look()
                return


@dataclass
class Worker:
    """A process. Its death ends what its hands do; what they had begun at the platform goes on without them."""

    name: str
    alive: bool = True


@dataclass(eq=False)
class Hand:
    """A thread of a worker: takes a request, asks to be let in, calls, and settles."""

    world: World
    desk: Desk
    worker: Worker

    def look(self) -> None:
        """Take the next request, or wait to be woken."""
        if not self.worker.alive:
            return
        now = self.world.agenda.now
        taken = self.desk.queue.take(self.worker.name, now)
        if not taken:
            self.desk.idle.append(self)
            return
        self.world.watch.note(now, "take", taken[0].id, taken[0].attempts)
        self.ask(taken[0], now)

    def ask(self, request: QueuedRequest, since: float) -> None:
        """Ask the budget; wait while that is short, else put the request back until then."""
        if not self.worker.alive:
            self.world.asking.pop(self, None)
            return
        world, now = self.world, self.world.agenda.now
        chain = world.chain(request.key.account_id)
        decision = world.admission.admit(chain, request.priority, source=SOURCE)
        world.asking[self] = request
        if isinstance(decision, Granted):
            self._call(request, decision.grant)
            return
        if isinstance(decision, Rejected):
            self._put_back(request, decision.retry_after)
            return
        if now + decision.seconds > since + PATIENCE_SECONDS or now + decision.seconds >= request.deadline:
            self._put_back(request, decision.seconds)
            return
        world.agenda.after(max(decision.seconds, SHORTEST_SLEEP_SECONDS), lambda: self.ask(request, since))

    def _put_back(self, request: QueuedRequest, seconds: float) -> None:
        world, now = self.world, self.world.agenda.now
        world.asking.pop(self, None)
        self.desk.queue.give_back(request, "not admitted", now, retry_after=seconds)
        world.watch.note(now, "back", request.id, round(seconds, 3))
        world.agenda.after(seconds, self.desk.wake)
        self.look()

    def _call(self, request: QueuedRequest, grant: Grant) -> None:
        world, now = self.world, self.world.agenda.now
        world.watch.divided(grant.priority, world.classes_asking(), now)
        world.asking.pop(self, None)
        world.watch.started(grant, now - request.enqueued_at, now)
        answer = world.platform.start(request.key.account_id, now)
        world.agenda.after(answer.seconds, lambda: self._answered(request, grant, answer))

    def _answered(self, request: QueuedRequest, grant: Grant, answer: Answer) -> None:
        world, now = self.world, self.world.agenda.now
        world.platform.finish()
        if not self.worker.alive:
            return
        world.admission.release(grant, answer.outcome)
        world.watch.ended(grant, now, answer.outcome.kind)
        if answer.error is not None:
            world.watch.heard(answer.outcome.parked_scope or grant.scopes[0], answer.error.until.timestamp())
        self._write_down(request, answer)
        self.look()

    def _write_down(self, request: QueuedRequest, answer: Answer) -> None:
        queue, now, outcome = self.desk.queue, self.world.agenda.now, answer.outcome
        if outcome.kind is CallOutcomeKind.OK:
            queue.complete(request, now)
        elif outcome.kind is CallOutcomeKind.THROTTLED:
            queue.give_back(request, "throttled", now, retry_after=outcome.park_seconds)
            self.world.agenda.after(outcome.park_seconds or 0.0, self.desk.wake)
        else:
            queue.give_back(request, str(outcome.kind), now)
            self.world.agenda.after(queue.rules.backoff_seconds(request.attempts), self.desk.wake)


def staff(world: World, desks: Sequence[Desk], workers: int, hands: int) -> Callable[[int], None]:
    """Put workers with `hands` at every desk to work, and return what kills one; another is there a second later."""
    crew: list[Worker] = [Worker("") for _ in range(workers)]

    def hire(index: int, generation: int) -> None:
        crew[index] = Worker(f"w{index}.{generation}")
        for desk in desks:
            for _ in range(hands):
                Hand(world, desk, crew[index]).look()

    def kill(index: int) -> None:
        crew[index].alive = False
        generation = int(crew[index].name.partition(".")[2]) + 1
        world.watch.note(world.agenda.now, "killed", crew[index].name)
        world.agenda.after(1.0, lambda: hire(index, generation))
        for desk in desks:
            world.agenda.after(desk.queue.rules.lease_seconds + 0.001, desk.wake)

    for index in range(workers):
        hire(index, 0)
    return kill
