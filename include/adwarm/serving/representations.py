"""Representations of an entry: its document in a coding and a shape, for one client.

Most clients accept the stored coding and get the stored bytes. Anything else is made once, in a thread, and cached by
what it is made of.
"""

import asyncio
from concurrent.futures import Executor
from dataclasses import dataclass
from typing import Final, NamedTuple

from adwarm.compression.choice import decode_counted, encode_counted
from adwarm.compression.document import MEDIA_TYPES, Shape, TableName, parse_shape, parse_table, render_shape
from adwarm.compression.envelope import Codec, parse_codec
from adwarm.compression.transcodes import RepresentationKey, TranscodeCache, content_coding
from adwarm.foundation.errors import Corrupt
from adwarm.serving.body_cache import BodyCache
from adwarm.serving.local_caches import CacheSelection
from adwarm.settings import CompressionSettings
from adwarm.store import Context
from adwarm.store.entries import Entry, mark_damaged

COLUMNAR: Final = "columnar"
"""The shape in which documents are stored."""
_TYPES: Final = {shape.value: media_type.encode("ascii") for shape, media_type in MEDIA_TYPES.items()}


@dataclass(frozen=True, slots=True)
class Selection:
    """What a client gets of an entry.

    Attributes:
        shape: the shape, with its table where the answer holds one table only.
    """

    codec: Codec
    shape: str = COLUMNAR

    @property
    def coding(self) -> str:
        """The HTTP name of the codec."""
        return content_coding(self.codec)

    @property
    def content_type(self) -> bytes:
        """The media type of the shape."""
        return _TYPES[self.shape.partition(".")[0]]


class Representation(NamedTuple):
    """A response body, and its content type as it is sent."""

    body: bytes
    content_type: bytes


class Representations:
    """Makes and caches representations. Its methods are called in one event loop.

    Args:
        executor: threads for encoding and shaping; others than those that read, since these must not wait for them.
    """

    def __init__(self, context: Context, bodies: BodyCache, executor: Executor) -> None:
        self._context = context
        self._settings: CompressionSettings = context.settings.compression
        self._bodies = bodies
        self._executor = executor
        self._cache = TranscodeCache(self._settings.cache_bytes)

    def clear(self, selection: CacheSelection) -> None:
        """Drop every representation, whatever is selected: they are named by their contents."""
        del selection
        self._cache.clear()

    def get(self, entry: Entry, selection: Selection) -> Representation | None:
        """Return a representation if it is in memory, else None."""
        if _is_stored(entry, selection):
            body = self._bodies.get(entry)
        else:
            body = self._cache.get(_cache_key(entry, selection), entry.codec)
        return None if body is None else Representation(body, selection.content_type)

    async def load(self, entry: Entry, selection: Selection, stored: bytes | None = None) -> Representation | None:
        """Return a representation; None when the stored bytes are lost or damaged, and the entry is marked then.

        Args:
            stored: the stored body, where the caller has it.

        Raises:
            BadRequest: the document has no such shape or table.
            TooMuchData: the document decodes to more than the settings allow.
        """
        stored = stored or self._bodies.get(entry) or await self._bodies.load(entry)
        if stored is None or _is_stored(entry, selection):
            return None if stored is None else Representation(stored, selection.content_type)
        # Shielded by itself: a thread goes on when the reader is gone, and the result is cached.
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._executor, self._make, entry, stored, selection)

    def decode(self, entry: Entry, stored: bytes) -> bytes:
        """Return the document of a stored body.

        Raises:
            Corrupt: the body does not decode to the document's length.
            TooMuchData: it decodes to more than the settings allow.
        """
        raw = decode_counted(stored, parse_codec(entry.codec), self._settings.max_decoded_bytes)
        if len(raw) != entry.raw_bytes:
            raise Corrupt(f"the document has {len(raw)} bytes and should have {entry.raw_bytes}; fetch it again")
        return raw

    def _make(self, entry: Entry, stored: bytes, selection: Selection) -> Representation | None:
        def compute() -> bytes:
            raw = render_shape(self.decode(entry, stored), *_parse_shape(selection.shape))
            return encode_counted(raw, selection.codec, self._settings)

        try:
            body = self._cache.get_or_compute(_cache_key(entry, selection), entry.codec, compute)
        except Corrupt as error:
            mark_damaged(self._context, entry, error)
            return None
        return Representation(body, selection.content_type)


def _is_stored(entry: Entry, selection: Selection) -> bool:
    """Whether the stored bytes are the representation."""
    return selection.codec == entry.codec and selection.shape == COLUMNAR


def _parse_shape(text: str) -> tuple[Shape, TableName]:
    """Return the shape of a selection, which ends with `.summary` or `.daily` where the client names a table."""
    name, _, table = text.partition(".")
    return parse_shape(name), parse_table(table or "daily")


def _cache_key(entry: Entry, selection: Selection) -> RepresentationKey:
    return RepresentationKey(entry.content_hash, selection.coding, selection.shape)
