"""Runs services as an engine does: in the order of their dependencies, restarted when they end, stopped with a grace.

Everything happens in the calling thread: `tick` does what is due, and every wait calls it. The process of the test is
the reaper of orphans, as an engine's is, so that no process of a service can leave its sight.
"""

import ctypes
import os
import signal
import subprocess
import threading
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path

import psutil

from tests.topology.compose_services import Service

_PR_SET_CHILD_SUBREAPER = 36
_RETRY_SECONDS = 3.0
_MEMORY_SECONDS = 3.0
_MAX_STARTS = 3


@dataclass
class RunningService:
    """A service with its process.

    Attributes:
        user: the user that runs it; None for the user of this process.
        stop_signal: what its image declares.
        is_wanted: whether it is to run.
        starts: how often it was started.
        peak_bytes: the most anonymous memory that its processes had together.
        stop_seconds: how long it took to end after SIGTERM; None before.
        was_killed: whether it had to be killed after its grace.
    """

    service: Service
    folder: Path
    log: Path
    user: str | None = None
    stop_signal: signal.Signals = signal.SIGTERM
    process: subprocess.Popen[bytes] | None = None
    check: subprocess.Popen[bytes] | None = None
    check_after: float = 0.0
    restart_after: float = 0.0
    is_healthy: bool = False
    is_wanted: bool = False
    sessions: set[int] = field(default_factory=set)
    starts: int = 0
    peak_bytes: int = 0
    stop_seconds: float | None = None
    was_killed: bool = False

    def start(self) -> None:
        """Start its command in a session of its own."""
        self.process = self._spawn(self.service.command, self.log)
        self.sessions.add(self.process.pid)
        self.starts += 1
        self.is_wanted, self.is_healthy, self.check_after = True, False, time.monotonic() + _RETRY_SECONDS

    def _spawn(self, command: tuple[str, ...], output: Path) -> subprocess.Popen[bytes]:
        with output.open("ab") as log:
            return subprocess.Popen(
                command, env=dict(self.service.environment), cwd=self.folder, stdout=log, stderr=log,
                stdin=subprocess.DEVNULL, start_new_session=True, user=self.user,
            )  # fmt: skip

    def tick(self) -> None:
        """Restart it when it has ended, and run its health check until it is healthy."""
        now = time.monotonic()
        if self.process is None or not self.is_wanted:
            return
        if self.process.poll() is not None:
            self.is_healthy = self.is_healthy and not self.service.restarts
            if self.service.restarts and now >= self.restart_after:
                self.restart_after = now + _RETRY_SECONDS
                self.start()
            return
        if self.check is not None:
            if self.check.poll() is not None:
                self.is_healthy = self.check.returncode == 0
                self.check, self.check_after = None, now + _RETRY_SECONDS
        elif self.service.restarts and not self.is_healthy and now >= self.check_after:
            self.check = self._spawn(self.service.health_command, self.log.with_suffix(".health"))

    def has_ended(self) -> bool:
        """Return whether it ended well, as a service that prepares others does."""
        return self.process is not None and self.process.poll() == 0

    def processes(self) -> list[psutil.Process]:
        """Return its live processes: descendants, and orphans of its sessions."""
        found: dict[int, psutil.Process] = {}
        if self.process is not None and self.process.poll() is None:
            with suppress(psutil.NoSuchProcess):
                main = psutil.Process(self.process.pid)
                found = {process.pid: process for process in (main, *main.children(recursive=True))}
        for process in psutil.Process().children(recursive=True):
            with suppress(ProcessLookupError, psutil.NoSuchProcess):
                if os.getsid(process.pid) in self.sessions and process.status() != psutil.STATUS_ZOMBIE:
                    found[process.pid] = process
        return list(found.values())

    def kill(self) -> int:
        """Kill every process of it by SIGKILL, as if the container was lost, and return how many there were."""
        victims = self.processes()
        for victim in victims:
            with suppress(psutil.NoSuchProcess):
                victim.kill()
        if self.process is not None:
            self.process.wait(timeout=20)
        self.restart_after = time.monotonic() + _RETRY_SECONDS
        return len(victims)

    def request_stop(self) -> None:
        """Send the signal that stops it."""
        self.is_wanted = False
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(self.stop_signal)


class ServiceRunner:
    """Runs the services of a topology.

    Args:
        services: services as they run here, by name.
        folder: working folder of processes.
        logs: folder of a log for each.
    """

    def __init__(self, services: Mapping[str, Service], folder: Path, logs: Path) -> None:
        _become_reaper()
        self.running = {
            name: RunningService(service, folder, logs / f"{name}.log") for name, service in services.items()
        }
        self._memory_after = 0.0

    def tick(self) -> None:
        """Do what is due: starts, restarts, health checks, memory, orphans."""
        for item in self.running.values():
            if item.process is None and self._may_start(item.service):
                item.start()
            item.tick()
        if time.monotonic() >= self._memory_after:
            self._memory_after = time.monotonic() + _MEMORY_SECONDS
            for item in self.running.values():
                item.peak_bytes = max(item.peak_bytes, sum(map(_anonymous_bytes, item.processes())))
        self._reap()

    def _may_start(self, service: Service) -> bool:
        for name, condition in service.depends_on.items():
            other = self.running[name]
            is_ready = other.has_ended() if condition == "service_completed_successfully" else other.is_healthy
            if not is_ready:
                return False
        return True

    def _reap(self) -> None:
        ours = {item.process.pid for item in self.running.values() if item.process is not None}
        ours |= {item.check.pid for item in self.running.values() if item.check is not None}
        for process in psutil.Process().children():
            with suppress(psutil.NoSuchProcess, ChildProcessError):
                if process.pid not in ours and process.status() == psutil.STATUS_ZOMBIE:
                    os.waitpid(process.pid, os.WNOHANG)

    def wait_until(self, is_true: Callable[[], object], what: str, seconds: float) -> None:
        """Wait until something holds.

        Raises:
            TimeoutError: it did not in time.
            RuntimeError: a service that prepares others has failed, or another one ends again and again.
        """
        deadline = time.monotonic() + seconds
        while not is_true():
            self.tick()
            self._check_starts()
            if time.monotonic() > deadline:
                raise TimeoutError(f"it never happened: {what}")
            threading.Event().wait(0.2)

    def _check_starts(self) -> None:
        for name, item in self.running.items():
            code = item.process.poll() if item.process is not None else None
            has_failed = code not in {None, 0} and not item.service.restarts
            if has_failed or item.starts > _MAX_STARTS:
                raise RuntimeError(f"{name} ended with {code}:\n{_tail(item.log)}")

    def list_unhealthy(self) -> list[str]:
        """Return the services that are neither healthy nor, where they prepare others, done."""
        return [
            name
            for name, item in self.running.items()
            if not (item.is_healthy if item.service.restarts else item.has_ended())
        ]

    def stop(self) -> None:
        """Stop all as an engine does: dependents first, each killed when its grace is over."""
        left = {name for name, item in self.running.items() if item.process is not None}
        while left:
            needed = {other for name in left for other in self.running[name].service.depends_on}
            group = sorted(left - needed)
            assert group, "the dependencies form a circle"
            self._stop_group([self.running[name] for name in group])
            left -= set(group)

    def _stop_group(self, group: list[RunningService]) -> None:
        began = time.monotonic()
        for item in group:
            item.request_stop()
        while any(item.stop_seconds is None for item in group):
            for item in group:
                assert item.process is not None
                elapsed = time.monotonic() - began
                if item.stop_seconds is None and item.process.poll() is not None:
                    item.stop_seconds = elapsed
                elif item.stop_seconds is None and elapsed > item.service.grace_seconds:
                    item.was_killed, item.stop_seconds = True, elapsed
            threading.Event().wait(0.05)
        for item in group:  # the end of its first process ends a container, and with it all others
            item.kill()
            if item.check is not None:
                item.check.kill()
                item.check.wait(timeout=20)
        self._reap()


def _become_reaper() -> None:
    """Make orphans of the services children of this process; Linux only."""
    if ctypes.CDLL(None, use_errno=True).prctl(_PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0):
        raise OSError(ctypes.get_errno(), "this process cannot adopt orphans")


def list_processes() -> list[str]:
    """Return the live processes that descend from this one."""
    found = []
    for process in psutil.Process().children(recursive=True):
        with suppress(psutil.NoSuchProcess):
            if process.status() != psutil.STATUS_ZOMBIE:
                found.append(f"{process.pid} {' '.join(process.cmdline())[:100]}")
    return found


def _anonymous_bytes(process: psutil.Process) -> int:
    """Return the memory of a process that only it needs and the system cannot drop; shared pages count in parts."""
    try:
        text = Path(f"/proc/{process.pid}/smaps_rollup").read_text(encoding="utf-8")
    except OSError:
        return 0
    return sum(int(line.split()[1]) << 10 for line in text.splitlines() if line.startswith("Pss_Anon"))


def _tail(path: Path) -> str:
    return path.read_text(encoding="utf-8", errors="replace")[-3_000:]
