"""The parts of a recovery pipeline that keep state, in memory, for tests without a database."""

import logging
import threading
from typing import Any

from adwarm.foundation.clock import Clock
from adwarm.foundation.gate import Gate, Rule
from adwarm.recovery import ErrorEvent
from adwarm.recovery.alerts import BuildAlert
from adwarm.store.gates import Change
from adwarm.store.healing_runs import HealingRun

log = logging.getLogger(__name__)


def memory_options(clock: Clock, **parts: Any) -> dict[str, Any]:
    """Return the options of a pipeline, whose state is in memory but for the given parts."""
    return {"alerts": NoAlerts(), "ledger": MemoryLedger(clock), "gates": MemoryGates(), **parts}


class NoAlerts:
    """Raises no alert."""

    def observe(self, event: ErrorEvent) -> None:
        """Do nothing."""

    def raise_once(self, event: ErrorEvent) -> None:
        """Do nothing."""

    def raise_about(self, build: BuildAlert) -> None:
        """Do nothing."""


class MemoryLedger:
    """Cool-downs of healers, and the history of healing."""

    def __init__(self, clock: Clock) -> None:
        self._clock = clock
        self._runs: dict[str, tuple[float, bool]] = {}  # start of the last run, and whether it has finished
        self._history: list[HealingRun] = []
        self._lock = threading.Lock()

    def acquire(self, name: str, cooldown_seconds: float) -> bool:
        """Claim the right to run the action now."""
        now = self._clock.now().timestamp()
        with self._lock:
            if name in self._runs and now - self._runs[name][0] < cooldown_seconds:
                return False
            self._runs[name] = (now, False)
            return True

    def finish(self, name: str, *, succeeded: bool, detail: str, run: HealingRun | None = None) -> None:
        """Record the result of the claimed action."""
        with self._lock:
            self._runs[name] = (self._runs[name][0], True)
            if run is not None:
                self._history = [*self._history[-99:], run]
        log.info("%s %s: %s", name, "succeeded" if succeeded else "failed", detail)

    def is_running(self, name: str, seconds: float) -> bool:
        """Return whether the action was claimed less than `seconds` ago and has not finished."""
        with self._lock:
            started, has_finished = self._runs.get(name, (0.0, True))
        return not has_finished and self._clock.now().timestamp() - started < seconds

    def list_recent(self, limit: int) -> list[HealingRun]:
        """Return the newest runs first; a hundred are kept."""
        with self._lock:
            return self._history[::-1][:limit]


class MemoryGates:
    """Gates of connections, accounts and fallbacks."""

    def __init__(self) -> None:
        self._gates: dict[tuple[str, Rule], Gate] = {}
        self._lock = threading.Lock()

    def list_gates(self, now: float, *rules: Rule) -> list[Gate]:
        """Return the gates of some rules that are not open, and those whose failures count at `now`, by scope."""
        with self._lock:
            gates = sorted(self._gates.values(), key=lambda gate: gate.scope)
        return [gate for gate in gates if gate.rule in rules and (gate.kept_until is None or gate.kept_until > now)]

    def change(self, scope: str, rule: Rule, change: Change) -> Gate:
        """Replace the gate by what `change` returns for it, and return that."""
        with self._lock:
            after = self._gates[scope, rule] = change(self._gates.get((scope, rule)) or Gate(scope, rule))
        return after
