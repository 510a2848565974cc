"""Compares codecs and levels on stored entries, and says which one suits their reads."""

import statistics
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any, Final

from adwarm.compression import CODECS, Codec, decompress
from adwarm.compression.codecs import decode, encode
from adwarm.foundation.errors import Corrupt, NotFound, TooMuchData
from adwarm.settings import CompressionSettings
from adwarm.store import Context, entries
from adwarm.store.entries import Entry

Timer = Callable[[], float]
"""Returns seconds."""
CONTENDERS: Final[tuple[tuple[Codec, int], ...]] = (
    ("gzip", 1),
    ("gzip", 6),
    ("brotli", 4),
    ("brotli", 5),
    ("brotli", 11),
    ("zstd", 1),
    ("zstd", 3),
    ("zstd", 6),
    ("zstd", 19),
)
"""What is compared, beside the settings' own levels."""
_PROBE_BYTES = 64 * 1024


@dataclass(frozen=True, slots=True)
class SettingFigures:
    """What one codec at one level gives on the sample.

    Attributes:
        codec: the codec.
        level: its level.
        raw_bytes: bytes of the documents.
        stored_bytes: their bytes compressed.
        pack_seconds: time to compress them all.
        unpack_seconds: time to decompress them all.
        documents: how many there are.
    """

    codec: Codec
    level: int
    raw_bytes: int
    stored_bytes: int
    pack_seconds: float
    unpack_seconds: float
    documents: int

    @property
    def name(self) -> str:
        """Codec and level, such as `zstd-6`."""
        return f"{self.codec}-{self.level}"

    def get_cost(self, reads: float, bytes_per_second: float) -> float:
        """Return bytes sent over `reads` reads of each document, plus the price of compressing once, in bytes."""
        return self.stored_bytes * reads + self.pack_seconds * bytes_per_second

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values; times are means per document."""
        return {
            "setting": self.name,
            "codec": self.codec,
            "level": self.level,
            "stored_bytes": self.stored_bytes,
            "ratio": round(self.stored_bytes / self.raw_bytes, 4),
            "pack_ms": round(self.pack_seconds / self.documents * 1000, 3),
            "unpack_ms": round(self.unpack_seconds / self.documents * 1000, 3),
        }


@dataclass(frozen=True, slots=True)
class CodecComparison:
    """The figures of all settings on the same documents, and what they advise.

    Attributes:
        documents: documents that were compared.
        raw_bytes: their bytes.
        median_reads: median of the reads of an entry; at least 1.
        many_reads: the reads that one entry in ten exceeds; at least the median.
        settings: the figures, the smallest result first.
        current: name of the current setting.
        advised: name of the setting that costs least at the median reads.
        advised_recompression: the same codec's level that costs least at many reads.
        why: the reason in a sentence.
    """

    documents: int
    raw_bytes: int
    median_reads: float
    many_reads: float
    settings: tuple[SettingFigures, ...]
    current: str
    advised: str
    advised_recompression: str
    why: str

    def to_dict(self) -> dict[str, Any]:
        """Return JSON values."""
        return {
            "documents": self.documents,
            "raw_bytes": self.raw_bytes,
            "median_reads": self.median_reads,
            "many_reads": self.many_reads,
            "current": self.current,
            "advised": self.advised,
            "advised_recompression": self.advised_recompression,
            "why": self.why,
            "settings": [figures.to_dict() for figures in self.settings],
        }


def compare_codecs(
    context: Context, *, max_entries: int = 20, seconds: float = 20, timer: Timer = time.perf_counter
) -> CodecComparison:
    """Compress and decompress the same stored documents by each setting.

    The entries with most bytes read come first. A probe tells how much fits into the time; a document that alone
    does not fit is cut.

    Args:
        context: the store and the settings.
        max_entries: how many entries are used at most.
        seconds: about how long it may take.
        timer: returns seconds.

    Raises:
        NotFound: no entry is stored that can be read.
    """
    compression = context.settings.compression
    used, documents = _load_documents(context, max_entries)
    if not documents:
        raise NotFound("no report is stored to compare codecs on; fetch some first with `adwarm warm`")
    contenders = _list_contenders(compression)
    probe = documents[0][:_PROBE_BYTES]
    probed = [_measure(codec, level, [probe], compression, timer) for codec, level in contenders]
    seconds_per_byte = sum(item.pack_seconds + item.unpack_seconds for item in probed) / max(1, len(probe))
    documents = _cut(documents, seconds / seconds_per_byte if seconds_per_byte else None)
    figures = [_measure(codec, level, documents, compression, timer) for codec, level in contenders]
    return _advise(figures, [entry.reads for entry in used], compression)


def _list_contenders(compression: CompressionSettings) -> list[tuple[Codec, int]]:
    stronger = compression.for_recompression()
    own = [(item.codec, item.level(item.codec)) for item in (compression, stronger)]
    return sorted({*CONTENDERS, *own}, key=lambda item: (CODECS.index(item[0]), item[1]))


def _load_documents(context: Context, limit: int) -> tuple[list[Entry], list[bytes]]:
    """Return the entries with most bytes read, then the newest, with their documents; unreadable ones are left out."""
    listed = [entry for entry in entries.list_entries(context.engine) if not entry.degraded and entry.raw_bytes]
    listed.sort(key=lambda entry: entry.reads * entry.raw_bytes, reverse=True)
    used: list[Entry] = []
    documents: list[bytes] = []
    for entry in listed:
        if len(used) == limit:
            break
        stored = entries.find(context.engine, entry.key)
        try:
            documents += [decompress(stored[1], context.settings.compression)] if stored else []
            used += [entry] if stored else []
        except (Corrupt, TooMuchData):
            continue
    return used, documents


def _cut(documents: Sequence[bytes], max_bytes: float | None) -> list[bytes]:
    """Return the first documents that have `max_bytes` together; the first one is cut when it alone has more."""
    if max_bytes is None:
        return list(documents)
    kept = [documents[0][: max(1, int(max_bytes))]]
    for document in documents[1:]:
        if sum(map(len, kept)) + len(document) > max_bytes:
            break
        kept.append(document)
    return kept


def _measure(
    codec: Codec, level: int, documents: Sequence[bytes], compression: CompressionSettings, timer: Timer
) -> SettingFigures:
    settings = compression.with_codec(codec, level)
    stored_bytes, pack_seconds, unpack_seconds = 0, 0.0, 0.0
    for document in documents:
        started = timer()
        body = encode(document, codec, settings)
        packed = timer()
        decode(body, codec, len(document))
        unpack_seconds += timer() - packed
        pack_seconds += packed - started
        stored_bytes += len(body)
    raw_bytes = sum(map(len, documents))
    return SettingFigures(codec, level, raw_bytes, stored_bytes, pack_seconds, unpack_seconds, len(documents))


def _advise(
    figures: Sequence[SettingFigures], reads: Sequence[int], compression: CompressionSettings
) -> CodecComparison:
    price = compression.recompress_min_saving
    median = max(1.0, float(statistics.median(reads)))
    many = max(median, float(sorted(reads)[int(len(reads) * 0.9)]))
    best = min(figures, key=lambda item: item.get_cost(median, price))
    same_codec = [item for item in figures if item.codec == best.codec]
    strong = min(same_codec, key=lambda item: item.get_cost(many, price))
    current = f"{compression.codec}-{compression.level(compression.codec)}"
    counted = f"{_format_reads(median)} of an entry"
    counted = counted if any(reads) else f"{counted}, since none was counted yet,"
    gain = (
        "which is the current setting"
        if best.name == current
        else f"which would take the place of {current} (ADWARM_COMPRESSION__CODEC and its level)"
    )
    why = (
        f"at {counted} bytes sent and CPU time together (a CPU second counts as {price:,} bytes) are least with "
        f"{best.name}, {gain}; for the most-read entries ({_format_reads(many)}) with {strong.name}"
    )
    return CodecComparison(
        documents=figures[0].documents,
        raw_bytes=figures[0].raw_bytes,
        median_reads=median,
        many_reads=many,
        settings=tuple(sorted(figures, key=lambda item: item.stored_bytes)),
        current=current,
        advised=best.name,
        advised_recompression=strong.name,
        why=why,
    )


def _format_reads(reads: float) -> str:
    return f"{reads:g} read{'' if reads == 1 else 's'}"
