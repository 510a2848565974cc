"""Records what could not be read: all lines and files are counted by reason, a bounded number is kept as samples.

Credentials in samples are redacted, so that the quarantine may be shown.
"""

from collections import Counter
from collections.abc import Iterable, Mapping
from dataclasses import asdict, dataclass, field

import orjson

from adwarm.access_log.web_requests import is_page_path, redact_path
from adwarm.foundation.redaction import redact

_EXCERPT, _SEARCHED = 200, 4_000
_PROBLEM = 1000
"""Why a file was not read ends with advice, and is kept longer than the beginning of a line."""
_PATHS_TRIED = 20_000
"""Later paths are counted only: most of them repeat the first ones, and each costs a redaction."""
FILE_REASONS = frozenset({"unreadable", "symlink"})
"""Reasons that concern a whole file. Files have a limit of their own, so many rejected lines cannot hide them."""


@dataclass(frozen=True, slots=True)
class RejectedSample:
    """A line or file that was not read.

    Attributes:
        offset: bytes into the decompressed file; in Parquet the number of the row.
        excerpt: the beginning of the line; for a file, why it was not read.
    """

    file: str
    offset: int
    reason: str
    excerpt: str


@dataclass
class Quarantine:
    """The rejected lines and files of one run.

    Attributes:
        limit: how many lines, and how many files, are kept as samples; all are counted.
        per_reason: how many lines are kept as samples of one reason; None: as many as `limit`.
        paths_kept: how many of the unmatched paths are kept.
        ignored: requests of a web server's log that open no report; not rejected.
        unmatched_paths: the first answered requests that the path pattern does not match, without query values.
    """

    limit: int = 1000
    by_reason: Counter[str] = field(default_factory=Counter)
    samples: list[RejectedSample] = field(default_factory=list)
    ignored: int = 0
    unmatched_paths: list[str] = field(default_factory=list)
    per_reason: int | None = None
    paths_kept: int = 5
    _lines: int = 0
    _files: int = 0
    _paths_tried: int = 0

    @property
    def count(self) -> int:
        """Lines rejected so far."""
        return self.by_reason.total()

    def can_keep(self, reason: str) -> bool:
        """Whether a line or file rejected for that reason would be kept as a sample."""
        is_line = reason not in FILE_REASONS
        if is_line and self.per_reason is not None and self.by_reason[reason] > self.per_reason:
            return False
        return (self._files if reason in FILE_REASONS else self._lines) < self.limit

    def add(self, reason: str, file: str, offset: int, excerpt: str | bytes = b"") -> None:
        """Count one line or file, and keep it as a sample below the limit."""
        self.by_reason[reason] += 1
        if self.can_keep(reason):
            length = _PROBLEM if reason in FILE_REASONS else _EXCERPT
            self._add_sample(RejectedSample(file, int(offset), reason, _redact_excerpt(excerpt, length)))

    def merge(self, by_reason: Mapping[str, int], samples: Iterable[RejectedSample]) -> None:
        """Add the counts of another run, and its samples below the limit."""
        self.by_reason.update(by_reason)
        for sample in samples:
            if self.can_keep(sample.reason):
                self._add_sample(sample)

    def _add_sample(self, sample: RejectedSample) -> None:
        self.samples.append(sample)
        if sample.reason in FILE_REASONS:
            self._files += 1
        else:
            self._lines += 1

    def add_count(self, reason: str, count: int) -> None:
        """Count lines without keeping samples."""
        if count:
            self.by_reason[reason] += int(count)

    def ignore(self, path: str | None) -> None:
        """Count a request that opens no report; `path` is given where only the path pattern did not match."""
        self.ignored += 1
        if path is None or len(self.unmatched_paths) >= self.paths_kept or self._paths_tried >= _PATHS_TRIED:
            return
        if is_page_path(path):
            self._paths_tried += 1
            self.add_unmatched_paths([redact_path(path)])

    def add_unmatched_paths(self, paths: Iterable[str]) -> None:
        """Keep the first few of these paths."""
        for path in paths:
            if path not in self.unmatched_paths and len(self.unmatched_paths) < self.paths_kept:
                self.unmatched_paths.append(path)

    def to_jsonl(self) -> bytes:
        """Return the samples as JSON lines."""
        return b"".join(orjson.dumps(asdict(sample)) + b"\n" for sample in self.samples)


def files_first(samples: Iterable[RejectedSample]) -> list[RejectedSample]:
    """Return the samples with those that concern a whole file before the lines."""
    return sorted(samples, key=lambda sample: sample.reason not in FILE_REASONS)


def describe_unreadable(samples: Iterable[RejectedSample]) -> str:
    """Return the first unreadable file and why it could not be read."""
    messages = (f"{sample.file}: {sample.excerpt}" for sample in samples if sample.reason in FILE_REASONS)
    return next(messages, "see the quarantine")


def _redact_excerpt(excerpt: str | bytes, length: int) -> str:
    # More than the length is searched for credentials, so that one cut at the edge is blanked too.
    head = excerpt[:_SEARCHED]
    text = (
        head.decode("utf-8", "backslashreplace")
        if isinstance(head, bytes)
        else head.encode("utf-8", "replace").decode()
    )
    return redact(text)[:length]
