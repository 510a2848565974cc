"""What belongs to a local Airflow: found by a mark in its environment, so that stopping leaves nothing behind."""

import os
import signal
import time
from pathlib import Path

import psutil

from adwarm_airflow.local.environment import ROOT

HOME = ROOT / ".adwarm" / "up"
MARK = "ADWARM_LOCAL_STACK"
_GRACE_SECONDS = 15.0


def processes(home: Path = HOME) -> list[psutil.Process]:
    """Return every live process of the stack under `home`, this one excepted."""
    found = []
    for process in psutil.process_iter():
        try:
            marked = process.environ().get(MARK) == str(home)
        except (psutil.NoSuchProcess, psutil.AccessDenied, psutil.ZombieProcess):
            continue
        if marked and process.pid != os.getpid() and process.status() != psutil.STATUS_ZOMBIE:
            found.append(process)
    return found


def stop(home: Path = HOME) -> int:
    """End every process of the stack, politely first, and return how many there were.

    Airflow's workers outlive their parent when only that is told to stop, so each one is told, and told again until
    none is left.
    """
    seen: set[int] = set()
    deadline = time.monotonic() + _GRACE_SECONDS
    while running := processes(home):
        seen.update(process.pid for process in running)
        force = time.monotonic() > deadline
        for process in running:
            _tell(process, signal.SIGKILL if force else signal.SIGTERM)
        psutil.wait_procs(running, timeout=2)
    return len(seen)


def _tell(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
