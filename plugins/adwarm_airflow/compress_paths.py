"""Packs stored entries anew, and files of a folder, for `CompressEntriesOperator`."""

from typing import Any

from adwarm.compression import compress_path
from adwarm.foundation.clock import SystemClock
from adwarm.maintenance.recompression import recompress_entries
from adwarm.runtime import Runtime
from adwarm.settings import CompressionSettings, Settings


def compress_entries(runtime: Runtime, codec: str) -> dict[str, Any]:
    """Pack every entry with `codec` where that is smaller, and return counts and bytes."""
    return recompress_entries(runtime.engine, _with_codec(runtime.settings, codec), SystemClock().now())


def compress_files(settings: Settings, path: str, codec: str, include: tuple[str, ...]) -> dict[str, Any]:
    """Pack the matching files beneath `path`, and return counts and bytes."""
    return compress_path(path, _with_codec(settings, codec), include=include).to_dict()


def _with_codec(settings: Settings, codec: str) -> CompressionSettings:
    from pydantic import ValidationError

    from adwarm.foundation.errors import BadRequest

    try:
        return CompressionSettings.model_validate({**settings.compression.model_dump(), "codec": codec})
    except ValidationError:
        raise BadRequest(f"codec {codec!r} is not one of zstd, gzip, brotli, identity") from None
