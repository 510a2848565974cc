"""Recompresses stored entries, or compresses the files of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from adwarm.settings import CompressionSettings, Settings


class CompressEntriesOperator(BaseOperator):
    """Recompresses stored entries where that makes them smaller, or compresses the matching files beneath a path.

    Every result is decoded and compared before it replaces anything. Returns counts, and bytes before and after.

    Args:
        path: a file or folder; None for the entries of the store.
        codec: zstd, gzip, brotli or identity.
        include: file patterns, used with a path.
    """

    template_fields: Sequence[str] = ("path", "codec")

    def __init__(
        self,
        *,
        path: str | None = None,
        codec: str = "zstd",
        include: Sequence[str] = ("*.json", "*.txt"),
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.path = path
        self.codec = codec
        self.include = include

    def execute(self, context: Context) -> dict[str, Any]:
        """Compress, and return counts and bytes.

        Raises:
            BadRequest: the codec does not exist.
        """
        from adwarm.compression import compress_path
        from adwarm.foundation.clock import SystemClock
        from adwarm.maintenance.recompression import recompress_entries
        from adwarm_airflow.task_context import open_runtime

        del context
        runtime = open_runtime()
        compression = _compression_settings(runtime.settings, self.codec)
        if self.path:
            return compress_path(self.path, compression, include=tuple(self.include)).to_dict()
        return recompress_entries(runtime.engine, compression, SystemClock().now())


def _compression_settings(settings: Settings, codec: str) -> CompressionSettings:
    """Return the compression settings with another codec."""
    from pydantic import ValidationError

    from adwarm.foundation.errors import BadRequest
    from adwarm.settings import CompressionSettings

    try:
        return CompressionSettings.model_validate({**settings.compression.model_dump(), "codec": codec})
    except ValidationError:
        raise BadRequest(f"codec {codec!r} is not one of zstd, gzip, brotli, identity") from None
