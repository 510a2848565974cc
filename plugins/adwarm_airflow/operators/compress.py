"""Compresses stored entries again, or the files of a folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

if TYPE_CHECKING:
    from airflow.sdk import Context

    from adwarm.settings import CompressionSettings, Settings


class CompressEntriesOperator(BaseOperator):
    """Writes compressed copies of the files beneath a path, or compresses stored entries again where that saves space.

    A copy is written beside its original, with the suffix of its codec (`.zst`, `.gz` or `.br`); the log names each
    with its size. The original is kept unless `keep_original` is false, and an existing file is never replaced. Every
    copy and every entry is decoded and compared before anything is deleted or replaced. Returns counts, and bytes
    before and after. The task fails when there were files to compress and none could be.

    Args:
        path: a file or folder.
        entries: patterns of `account/report/date range` of stored entries, such as `act_1/*`; either these or a path.
        codec: zstd, gzip, brotli or, for entries, identity.
        include: file patterns, used with a path.
        keep_original: whether the original files stay; used with a path.
    """

    template_fields: Sequence[str] = ("path", "entries", "codec")

    def __init__(
        self,
        *,
        path: str | None = None,
        entries: Sequence[str] = (),
        codec: str = "zstd",
        include: Sequence[str] = ("*.json", "*.txt"),
        keep_original: bool = True,
        **kwargs: Any,
    ) -> None:
        super().__init__(**kwargs)
        self.path = path
        self.entries = entries
        self.codec = codec
        self.include = include
        self.keep_original = keep_original

    def execute(self, context: Context) -> dict[str, Any]:
        """Compress, and return counts and bytes.

        Raises:
            BadRequest: the codec does not exist, or not exactly one of path and entries is given.
            NotFound: there is nothing at the path.
            Permanent: every file failed.
        """
        from adwarm.compression import flush_statistics
        from adwarm.foundation.errors import BadRequest
        from adwarm.maintenance.entry_compression import compress_entries, describe_compression
        from adwarm_airflow.task_context import open_runtime

        del context
        if bool(self.path) == bool(self.entries):
            raise BadRequest("give CompressEntriesOperator either a path or patterns of entries, such as ['act_1/*']")
        runtime = open_runtime()
        compression = _compression_settings(runtime.settings, self.codec)
        if self.path:
            counts = self._compress_files(self.path, compression)
            flush_statistics(runtime.engine, runtime.clock.now())
            return counts
        counts = compress_entries(runtime.context, compression, tuple(self.entries), runtime.clock.now())
        self.log.info("%s", describe_compression(counts, self.codec))
        return counts

    def _compress_files(self, path: str, compression: CompressionSettings) -> dict[str, Any]:
        """Compress the files, and log what was written, skipped and failed."""
        from adwarm.compression import compress_path
        from adwarm.foundation.errors import Permanent

        result = compress_path(path, compression, tuple(self.include), keep_original=self.keep_original)
        for file in result.written:
            self.log.info("%s", file)
        for name, reason in result.skipped.items():
            self.log.info("skipped %s: %s", name, reason)
        for name, reason in result.failed.items():
            self.log.warning("failed: %s: %s", name, reason)
        self.log.info("%s", result)
        if result.failed and not result.written and not result.skipped:
            name, reason = next(iter(result.failed.items()))
            raise Permanent(f"none of {len(result.failed)} files could be compressed; the first, {name}: {reason}")
        return result.to_dict()


def _compression_settings(settings: Settings, codec: str) -> CompressionSettings:
    """Return the compression settings with another codec, switched on.

    Raises:
        BadRequest: the codec does not exist.
    """
    from adwarm.compression.envelope import parse_codec

    compression, name = settings.compression, parse_codec(codec)
    return compression.with_codec(name, compression.get_level(name)).model_copy(update={"enabled": True})
