"""Keeps what could not be read: every line counted by reason, a bounded number kept with file, offset and text.

Credentials in a kept excerpt are blanked, so that the quarantine may be shown.
"""

import re
from collections import Counter
from dataclasses import asdict, dataclass, field

import orjson

_SECRET = re.compile(
    r"(?i)((?:access_token|app_?secret|appsecret_proof|password|authorization|api_?key)\W{1,4})[^\s&\"',}]+"
)
_EXCERPT = 200


@dataclass(frozen=True, slots=True)
class Rejected:
    """One line that was not read.

    Attributes:
        offset: bytes into the (decompressed) file; for Parquet the row's number.
    """

    file: str
    offset: int
    reason: str
    excerpt: str


@dataclass
class Quarantine:
    """The rejected lines of one run.

    Attributes:
        limit: how many are kept as samples; all are counted.
        ignored: requests of a web server's log that open no report; they are nothing to worry about.
    """

    limit: int = 1000
    by_reason: Counter[str] = field(default_factory=Counter)
    samples: list[Rejected] = field(default_factory=list)
    ignored: int = 0

    @property
    def count(self) -> int:
        """Lines rejected so far."""
        return self.by_reason.total()

    def add(self, reason: str, file: str, offset: int, excerpt: str | bytes = b"") -> None:
        """Count one line, and keep it while there is room."""
        self.by_reason[reason] += 1
        if len(self.samples) < self.limit:
            self.samples.append(Rejected(file, int(offset), reason, _shown(excerpt)))

    def tally(self, reason: str, count: int) -> None:
        """Count lines of which no sample is kept."""
        if count:
            self.by_reason[reason] += int(count)

    def to_jsonl(self) -> bytes:
        """Return the samples as JSON lines."""
        return b"".join(orjson.dumps(asdict(sample)) + b"\n" for sample in self.samples)


def _shown(excerpt: str | bytes) -> str:
    # Twice the length is searched for credentials, so that one cut at the edge is blanked too.
    head = excerpt[: 2 * _EXCERPT]
    text = (
        head.decode("utf-8", "backslashreplace")
        if isinstance(head, bytes)
        else head.encode("utf-8", "replace").decode()
    )
    return _SECRET.sub(r"\1***", text)[:_EXCERPT]
