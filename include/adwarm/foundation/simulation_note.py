"""The note in a home with simulated data: what is simulated, and the time at which it stands.

`make demo` and `make up` leave it. The page and `adwarm status` show it. Where it names a time, the installation acts
at that time: the reports of a demo are fresh at its own end, not years later.
"""

import json
from dataclasses import dataclass
from datetime import datetime
from pathlib import Path

from adwarm.foundation.home import write_private_file

_FILE = "simulated.json"


@dataclass(frozen=True, slots=True)
class SimulationNote:
    """What is simulated.

    Attributes:
        at: the time at which the installation stands; None for the system's.
    """

    text: str
    at: datetime | None = None


def write_note(home: Path, note: SimulationNote) -> None:
    """Leave the note in a home."""
    fields = {"text": note.text, "at": None if note.at is None else note.at.isoformat()}
    write_private_file(home / _FILE, json.dumps(fields).encode())


def read_note(home: Path) -> SimulationNote | None:
    """Return the note of a home; None without one."""
    path = home / _FILE
    if not path.exists():
        return None
    fields = json.loads(path.read_bytes())
    return SimulationNote(fields["text"], datetime.fromisoformat(fields["at"]) if fields["at"] else None)
