"""What a process does whose memory is measured while it meets a bomb."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

MIB = 2**20
CAP_MIB = 16


def call_upstream(url: str) -> Callable[[], Any]:
    """Return a call whose answer is a bomb; its result is the error, and whether the next call works."""
    from pydantic import SecretStr

    from adwarm.foundation.clock import SystemClock
    from adwarm.foundation.errors import AdwarmError
    from adwarm.settings import SourceSettings
    from adwarm.sources.meta.transport import GraphTransport, MetaCredentials

    settings = SourceSettings(graph_url=url)
    transport = GraphTransport(MetaCredentials(SecretStr("test-token-of-bombs")), settings, SystemClock())
    good = ("act_1002",)
    assert transport.get(good, {}).body["id"] == "act_1002"
    window = '{"since":"2026-11-01","until":"2026-11-01"}'

    def work() -> list[Any]:
        errors = []
        for _ in range(3):
            try:
                transport.get(("act_1001", "insights"), {"time_range": window})
            except AdwarmError as error:
                errors.append(type(error).__name__)
        return [errors, transport.get(good, {}).body["id"]]

    return work


def decode_stored(path: str, codec: str, declared: int) -> Callable[[], Any]:
    """Return the decoding of a stored entry whose checksum is right and whose body is a bomb."""
    from adwarm.compression import CODECS, decompress, encode_envelope
    from adwarm.foundation.errors import AdwarmError
    from adwarm.settings import CompressionSettings

    settings = CompressionSettings(max_decoded_bytes=CAP_MIB * MIB)
    known = next(name for name in CODECS if name == codec)
    blob = encode_envelope(Path(path).read_bytes(), codec=known, content_type="application/json", raw_bytes=declared)

    def work() -> str:
        try:
            decompress(blob, settings)
        except AdwarmError as error:
            return type(error).__name__
        return "decoded"

    return work
