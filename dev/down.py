"""`make down`: finds and stops every process of the local Airflow.

A process of the stack is found by its session or by a mark in its environment. Either alone misses some: parts of
Airflow overwrite their environment with a process title, others open a session of their own.
"""

import os
import signal
import sys
import time
from pathlib import Path

import psutil

from dev.environment import UP_HOME

MARK = "ADWARM_LOCAL_STACK"
"""Environment variable of every process of the stack; its value is the home."""
_GRACE_SECONDS = 15.0


def main() -> int:
    """Stop the stack, and print what was stopped and what still runs."""
    stopped = stop_stack()
    left = find_processes()
    print(f"stopped {stopped} processes" if stopped else "nothing was running")
    for process in left:
        print(f"still running: {process.pid}", file=sys.stderr)
    return 1 if left else 0


def find_processes(home: Path = UP_HOME) -> list[psutil.Process]:
    """Return every live process of the stack under `home`, except this one."""
    path = _sessions_file(home)
    sessions = {int(line) for line in path.read_text(encoding="utf-8").split()} if path.exists() else set()
    others = (process for process in psutil.process_iter() if process.pid != os.getpid())
    return [process for process in others if _belongs(process, home, sessions)]


def record_session(session: int, home: Path = UP_HOME) -> None:
    """Record a session that `make up` has opened."""
    with _sessions_file(home).open("a", encoding="utf-8") as file:
        file.write(f"{session}\n")


def stop_stack(home: Path = UP_HOME) -> int:
    """Stop every process of the stack, at last with SIGKILL, and return how many there were.

    Airflow's workers outlive a parent that is stopped alone, so each process gets the signal, until none is left. The
    database server stops last, after its clients.
    """
    seen: set[int] = set()
    deadline = time.monotonic() + _GRACE_SECONDS
    while running := find_processes(home):
        seen.update(process.pid for process in running)
        number = signal.SIGKILL if time.monotonic() > deadline else signal.SIGTERM
        for process in running:
            _send_signal(process, number)
        psutil.wait_procs(running, timeout=2)
    _sessions_file(home).unlink(missing_ok=True)
    return len(seen) + _stop_metadata_server(home)


def _sessions_file(home: Path) -> Path:
    return home / "sessions"


def _belongs(process: psutil.Process, home: Path, sessions: set[int]) -> bool:
    try:
        if process.status() == psutil.STATUS_ZOMBIE:
            return False
        return os.getsid(process.pid) in sessions or process.environ().get(MARK) == str(home)
    except (psutil.NoSuchProcess, psutil.AccessDenied, ProcessLookupError, PermissionError):
        return False


def _send_signal(process: psutil.Process, number: int) -> None:
    try:
        process.send_signal(number)
    except psutil.NoSuchProcess:
        return


def _stop_metadata_server(home: Path) -> bool:
    """Stop the PostgreSQL server of Airflow's metadata, and return whether it was running."""
    postmaster = _find_postmaster(home)
    if postmaster is None:
        return False
    os.kill(postmaster.pid, signal.SIGINT)  # fast shutdown: sessions are closed, data is written
    psutil.wait_procs([postmaster], timeout=20)
    return True


def _find_postmaster(home: Path) -> psutil.Process | None:
    try:
        pid = int((home / "metadata" / "postmaster.pid").read_text(encoding="utf-8").splitlines()[0])
        process = psutil.Process(pid)
        return process if "postgres" in process.name() else None
    except (OSError, ValueError, IndexError, psutil.NoSuchProcess):
        return None


if __name__ == "__main__":
    sys.exit(main())
