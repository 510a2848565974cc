"""What belongs to a local Airflow: found by its session and by a mark in its environment.

Either alone would miss some: parts of Airflow overwrite their environment with a title, others open a session of their
own. Stopping looks for both, again and again, until none is left.
"""

import os
import signal
import time
from pathlib import Path

import psutil

from dev.environment import ROOT
from dev.metadata import stop_metadata

HOME = ROOT / ".adwarm" / "up"
MARK = "ADWARM_LOCAL_STACK"
_GRACE_SECONDS = 15.0


def processes(home: Path = HOME) -> list[psutil.Process]:
    """Return every live process of the stack under `home`, this one excepted."""
    sessions = _sessions(home)
    own = (process for process in psutil.process_iter() if process.pid != os.getpid())
    return [process for process in own if _belongs(process, home, sessions)]


def remember(home: Path, session: int) -> None:
    """Note a session that a start has opened."""
    with (home / "sessions").open("a", encoding="utf-8") as file:
        file.write(f"{session}\n")


def _sessions(home: Path) -> set[int]:
    path = home / "sessions"
    return {int(line) for line in path.read_text(encoding="utf-8").split()} if path.exists() else set()


def _belongs(process: psutil.Process, home: Path, sessions: set[int]) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return os.getsid(process.pid) in sessions or process.environ().get(MARK) == str(home)
    except (psutil.NoSuchProcess, psutil.AccessDenied, ProcessLookupError, PermissionError):
        return False


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
    (home / "sessions").unlink(missing_ok=True)
    return len(seen) + stop_metadata(home)


def _tell(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return
