"""Compresses stored entries again: all of them with another codec, or those for which a stronger level pays.

A stronger level pays for an entry when the bytes that it saves, times the reads that are still to come, exceed the
price of its CPU time (`compression.recompress_min_saving`). Each figure of that is measured:

- the reads to come: at the rate so far until the entry expires, and not more than so far;
- the bytes saved per read and the CPU time: from a sample of the entries at hand, and from the entries that this run
  has recompressed so far.

Neither changes the decoded document, its hash or its freshness, and an entry that is published meanwhile stays as it
is.
"""

import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from sqlalchemy import Engine

from adwarm.compression import (
    CompressedPayload,
    compress,
    decompress_envelope,
    flush_statistics,
    open_envelope,
)
from adwarm.compression.codecs import encode
from adwarm.foundation.clock import Clock
from adwarm.foundation.errors import Corrupt, TooMuchData
from adwarm.foundation.wording import format_count
from adwarm.maintenance.off_peak import is_off_peak
from adwarm.maintenance.step import Step, StepBudget, StepResult
from adwarm.model import EntryKey
from adwarm.settings import CompressionSettings
from adwarm.store import Context, entries
from adwarm.store.damage import mark_damaged
from adwarm.store.database import write_transaction
from adwarm.store.entries import Entry

Timer = Callable[[], float]
"""Returns CPU seconds of the calling thread."""
READ_WITHIN: Final = timedelta(days=7)
"""Entries that were not read for longer are not expected to be read again."""
_SAMPLED_ENTRIES = 3
_SAMPLED_BYTES = 256 * 1024
_SHORTEST_PERIOD = timedelta(hours=1)
_STEP_COUNTS = ("candidates", "recompressed", "corrupt", "bytes_before", "bytes_after", "cpu_seconds")


@dataclass(frozen=True, slots=True)
class RecompressionPolicy:
    """What a run may do.

    Attributes:
        cpu_seconds: CPU time that it may use; the last entry may exceed it by its own time.
        dry_run: whether it only says what it would do.
        timer: returns CPU seconds of the calling thread.
    """

    cpu_seconds: float
    dry_run: bool = False
    timer: Timer = time.thread_time


@dataclass
class RecompressionResult:
    """What a run did, or would do in a dry run.

    Attributes:
        setting: codec and level, such as `zstd-19`.
        is_dry_run: whether nothing was changed.
        candidates: entries that were read lately, do not expire soon, and were not tried yet.
        paying: candidates for which it pays, within the CPU time.
        recompressed: entries that were replaced by a smaller form.
        corrupt: damaged entries, which are fetched again.
        bytes_before: bytes of the paying entries before.
        bytes_after: their bytes afterwards; estimated in a dry run.
        saved_bytes_expected: bytes saved over the reads that are expected.
        cpu_seconds: CPU time used, samples included; in a dry run also the estimate for the entries.
        is_out_of_time: whether CPU time ran out before the last candidate.
    """

    setting: str
    is_dry_run: bool = False
    candidates: int = 0
    paying: int = 0
    recompressed: int = 0
    corrupt: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    saved_bytes_expected: int = 0
    cpu_seconds: float = 0.0
    is_out_of_time: bool = False

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {**vars(self), "cpu_seconds": round(self.cpu_seconds, 3)}

    def __str__(self) -> str:
        if not self.candidates:
            return f"no entry to recompress with {self.setting}: none was read lately and is left to be tried"
        if not self.paying and not self.is_out_of_time and not self.corrupt:
            entries_text = format_count(self.candidates, "entry", "entries")
            return f"of {entries_text} read lately, recompressing with {self.setting} pays for none"
        verb = "would be recompressed" if self.is_dry_run else "were recompressed"
        count = self.paying if self.is_dry_run else self.recompressed
        text = (
            f"{count:,} of {format_count(self.candidates, 'entry', 'entries')} {verb} with {self.setting}: "
            f"{self.bytes_before:,} bytes become {self.bytes_after:,}, {self.saved_bytes_expected:,} bytes saved over "
            f"the expected reads, {self.cpu_seconds:,.1f} s of CPU"
        )
        rest = "; out of CPU time, the next run continues" if self.is_out_of_time else ""
        damaged = f"; {self.corrupt:,} are damaged and will be fetched again" if self.corrupt else ""
        return text + rest + damaged


@dataclass
class _Evidence:
    """What the stronger setting has achieved so far: bytes and CPU seconds of the same documents."""

    raw_bytes: int = 0
    bytes_before: int = 0
    bytes_after: int = 0
    seconds: float = 0.0

    def add(self, raw_bytes: int, before: int, after: int, seconds: float) -> None:
        """Add a document that was measured."""
        self.raw_bytes += raw_bytes
        self.bytes_before += before
        self.bytes_after += min(before, after)
        self.seconds += seconds

    def estimate_saving(self, entry: Entry) -> int:
        """Return the bytes that one read of `entry` would save."""
        share = 1 - self.bytes_after / self.bytes_before if self.bytes_before else 0.0
        return round(entry.stored_bytes * share)

    def estimate_seconds(self, entry: Entry) -> float:
        """Return the CPU seconds that `entry` would take."""
        return self.seconds / self.raw_bytes * entry.raw_bytes if self.raw_bytes else 0.0


def estimate_reads(entry: Entry, now: datetime) -> float:
    """Return how often an entry is expected to be read before it expires.

    An entry that never expires is expected to be read as often as so far. Any other one is read at the rate so far, but
    not more often. The rate counts from when the window's days were there, since reads stay when an entry is fetched
    again, and over at least an hour, so that one early read does not promise many.
    """
    if entry.expires_at is None:
        return float(entry.reads)
    is_running = entry.fetched_at.date() <= entry.key.window.until
    first_day = entry.key.window.until + timedelta(days=0 if is_running else 1)
    since = min(entry.fetched_at, datetime.combine(first_day, datetime.min.time(), UTC))
    share = (entry.expires_at - now) / max(now - since, _SHORTEST_PERIOD)
    return entry.reads * min(1.0, max(0.0, share))


def make_recompress_entries(context: Context, clock: Clock, *, at_any_hour: bool = False) -> Step:
    """Return the step `recompress_entries`, which runs in quiet hours, or at any hour if asked or none is known."""

    def step(_cursor: Any, budget: StepBudget) -> StepResult:
        now, seconds = clock.now(), context.settings.compression.recompress_cpu_seconds
        if not seconds:
            return StepResult(skipped="recompression is switched off (ADWARM_COMPRESSION__RECOMPRESS_CPU_SECONDS=0)")
        if not at_any_hour and is_off_peak(context.engine, now) is False:
            return StepResult(skipped="readers are many at this hour; entries are recompressed in quiet hours")
        left = budget.ends_at - now.timestamp()
        result = recompress_by_benefit(context, now, RecompressionPolicy(min(seconds, left)))
        if not result.candidates:
            return StepResult(skipped=str(result))
        cursor = {"left": result.candidates - result.paying} if result.is_out_of_time else None
        counts = result.to_dict()
        return StepResult({name: counts[name] for name in _STEP_COUNTS}, cursor)

    return step


def recompress_by_benefit(
    context: Context, now: datetime, policy: RecompressionPolicy | None = None
) -> RecompressionResult:
    """Recompress the entries for which the stronger level pays, those that save most bytes per CPU second first.

    Args:
        context: the store and the settings.
        now: the time of the run, UTC.
        policy: CPU time and dry run; the settings' CPU time by default.
    """
    compression = context.settings.compression
    policy = policy or RecompressionPolicy(compression.recompress_cpu_seconds)
    run = _Run(context, compression, now, policy)
    run.recompress()
    flush_statistics(context.engine, now)
    return run.result


def recompress_all(context: Context, compression: CompressionSettings, at: datetime) -> dict[str, Any]:
    """Compress each entry again and keep the smaller form; return counts, and bytes before and after.

    Every payload is decoded and verified first; a corrupt one is marked degraded, so that it is fetched again. An entry
    that was published in the meantime is left as it is.

    Args:
        context: the database, and what records damage.
        compression: the codec and its level.
        at: the time of the replacement, UTC.
    """
    counts = {"entries": 0, "repacked": 0, "corrupt": 0, "bytes_before": 0, "bytes_after": 0}
    engine = context.engine
    for entry in entries.list_entries(engine):
        loaded = _load(engine, compression, entry)
        if loaded is None:
            continue
        counts["entries"] += 1
        counts["bytes_before"] += entry.stored_bytes
        counts["bytes_after"] += entry.stored_bytes
        if isinstance(loaded, Corrupt):
            mark_damaged(context, entry, loaded)
            counts["corrupt"] += 1
            continue
        packed = loaded.compress(compression)
        if packed.stored_bytes < entry.stored_bytes and _replace(engine, entry, packed, at, None):
            counts["repacked"] += 1
            counts["bytes_after"] += packed.stored_bytes - entry.stored_bytes
    flush_statistics(engine, at)
    return counts


def describe_recompression(counts: Mapping[str, Any], codec: str) -> str:
    """Return the counts of `recompress_all` in a sentence."""
    entries_text = f"{counts['repacked']:,} of {format_count(counts['entries'], 'stored entry', 'stored entries')}"
    sizes = f"{counts['bytes_before']:,} bytes became {counts['bytes_after']:,}"
    damaged = f"; {counts['corrupt']:,} are damaged and will be fetched again" if counts["corrupt"] else ""
    return f"{entries_text} are smaller by {codec} and were replaced: {sizes}{damaged}"


@dataclass(frozen=True, slots=True)
class _Document:
    """A decoded document with its type, and the name that the settings' patterns are compared with."""

    raw: bytes
    content_type: str
    name: str

    def compress(self, settings: CompressionSettings) -> CompressedPayload:
        """Return the document compressed by `settings`."""
        return compress(self.raw, settings, content_type=self.content_type, name=self.name)


def _load(engine: Engine, settings: CompressionSettings, entry: Entry) -> _Document | Corrupt | None:
    """Return the document of an entry, verified, or the error when it is damaged.

    None when it has changed since it was listed, or is larger than what may be decoded.
    """
    stored = entries.find(engine, entry.key)
    if stored is None or stored[0].payload_hash != entry.payload_hash or entry.raw_bytes > settings.max_decoded_bytes:
        return None
    try:
        envelope = open_envelope(stored[1])
        raw = decompress_envelope(envelope, settings)
    except Corrupt as error:
        return error
    except TooMuchData as error:  # more than its row says, so its bytes are not those that were stored
        return Corrupt(str(error))
    return _Document(raw, envelope.content_type, _get_name(entry))


def _get_name(entry: Entry) -> str:
    return f"{entry.key.account_id}/{entry.report}/{entry.date_range}"


def _replace(engine: Engine, entry: Entry, packed: CompressedPayload, at: datetime, setting: str | None) -> bool:
    """Store the smaller form of an entry; False when the entry has changed meanwhile."""
    smaller = replace(entry, codec=packed.codec, stored_bytes=packed.stored_bytes, recompressed_with=setting)
    with write_transaction(engine) as connection:
        return entries.replace_payload(connection, smaller, packed.blob, at)


@dataclass
class _Run:
    """One run of `recompress_by_benefit`."""

    context: Context
    current: CompressionSettings
    now: datetime
    policy: RecompressionPolicy
    evidence: _Evidence = field(default_factory=_Evidence)
    damaged: set[EntryKey] = field(default_factory=set)
    stronger: CompressionSettings = field(init=False)
    result: RecompressionResult = field(init=False)
    _started: float = field(init=False)
    _planned_seconds: float = 0.0

    def __post_init__(self) -> None:
        self.stronger = self.current.for_recompression()
        setting = f"{self.stronger.codec}-{self.stronger.level(self.stronger.codec)}"
        self.result = RecompressionResult(setting, self.policy.dry_run)
        self._started = self.policy.timer()

    def recompress(self) -> None:
        """Sample, then go through the candidates until the CPU time is used up."""
        if self.stronger.codec == "identity" or not self.policy.cpu_seconds:
            return
        soon = self.now + timedelta(hours=self.current.recompress_min_hours)
        listed = entries.list_to_recompress(self.context.engine, self.result.setting, self.now - READ_WITHIN, soon)
        candidates = [entry for entry in listed if self.current.enabled and self.current.is_included(_get_name(entry))]
        candidates.sort(key=self._estimate_yield, reverse=True)
        self.result.candidates = len(candidates)
        self._sample(candidates[:_SAMPLED_ENTRIES])
        for entry in candidates:
            if entry.key in self.damaged or not self._pays(entry):
                continue
            if self._spent() + self.evidence.estimate_seconds(entry) > self.policy.cpu_seconds:
                self.result.is_out_of_time = True
                break
            self._take(entry)
        self.result.cpu_seconds = self._spent()

    def _estimate_yield(self, entry: Entry) -> float:
        """Return what the bytes saved per CPU second are proportional to: bytes sent per byte to compress."""
        return estimate_reads(entry, self.now) * entry.stored_bytes / max(1, entry.raw_bytes)

    def _spent(self) -> float:
        return self.policy.timer() - self._started + self._planned_seconds

    def _sample(self, sampled: Sequence[Entry]) -> None:
        """Compress the beginning of some documents by both settings, without storing anything."""
        for entry in sampled:
            document = self._load(entry) if self._spent() < self.policy.cpu_seconds else None
            if document is None:
                continue
            part = document.raw[:_SAMPLED_BYTES]
            before = len(encode(part, self.current.codec, self.current))
            started = self.policy.timer()
            after = len(encode(part, self.stronger.codec, self.stronger))
            self.evidence.add(len(part), before, after, self.policy.timer() - started)

    def _pays(self, entry: Entry) -> bool:
        """Whether the bytes saved over the expected reads exceed the price of the CPU time."""
        saved = self.evidence.estimate_saving(entry) * estimate_reads(entry, self.now)
        return 0 < saved >= self.evidence.estimate_seconds(entry) * self.current.recompress_min_saving

    def _take(self, entry: Entry) -> None:
        if self.policy.dry_run:
            self._planned_seconds += self.evidence.estimate_seconds(entry)
            self._count(entry, entry.stored_bytes - self.evidence.estimate_saving(entry))
            return
        document = self._load(entry)
        if document is None:
            return
        started = self.policy.timer()
        packed = document.compress(self.stronger)
        self.evidence.add(len(document.raw), entry.stored_bytes, packed.stored_bytes, self.policy.timer() - started)
        if packed.stored_bytes >= entry.stored_bytes:
            with write_transaction(self.context.engine) as connection:
                entries.mark_recompressed(connection, entry, self.result.setting)
            self._count(entry, entry.stored_bytes)
        elif _replace(self.context.engine, entry, packed, self.now, self.result.setting):
            self.result.recompressed += 1
            self._count(entry, packed.stored_bytes)

    def _count(self, entry: Entry, bytes_after: int) -> None:
        saved = entry.stored_bytes - bytes_after
        self.result.paying += 1
        self.result.bytes_before += entry.stored_bytes
        self.result.bytes_after += bytes_after
        self.result.saved_bytes_expected += round(saved * estimate_reads(entry, self.now))

    def _load(self, entry: Entry) -> _Document | None:
        """Return the document of an entry; None when it has changed or is damaged, which is marked."""
        loaded = _load(self.context.engine, self.current, entry)
        if isinstance(loaded, Corrupt):
            self.damaged.add(entry.key)
            self.result.corrupt += 1
            if not self.policy.dry_run:
                mark_damaged(self.context, entry, loaded)
        return loaded if isinstance(loaded, _Document) else None
