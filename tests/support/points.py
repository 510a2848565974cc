"""What the workers of these tests run."""

import os
from pathlib import Path

from adwarm.store import leases, open_engine, upgrade
from adwarm.store.objects import ObjectStore


def fail() -> None:
    """Raise an error."""
    raise ValueError("on purpose")


def lease_and_store(folder: str) -> None:
    """Take a lease, store an object, and release the lease."""
    engine = open_engine(f"sqlite:///{folder}/adwarm.db")
    upgrade(engine)
    lease = leases.acquire(engine, "name", "owner", 30)
    ObjectStore(folder).put(b"data")
    if lease:
        leases.release(engine, lease)


def write_files(name: str) -> list[str]:
    """Write two files, rename one, and return their names."""
    folder = Path(name)
    for number in range(2):
        with (folder / str(number)).open("wb", buffering=0) as file:
            file.write(b"data")
            os.fsync(file.fileno())
    (folder / "0").rename(folder / "2")
    return sorted(path.name for path in folder.iterdir())
