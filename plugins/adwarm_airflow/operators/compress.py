"""Packs stored entries, or the files of any folder."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from airflow.sdk import BaseOperator

if TYPE_CHECKING:
    from airflow.sdk import Context


class CompressEntriesOperator(BaseOperator):
    """Packs entries anew where that makes them smaller, or, given a path, the matching files beneath it.

    Every result is decoded and compared before it replaces anything. Returns counts and bytes before and after.

    Args:
        path: a file or folder; None for the entries of the store.
        codec: zstd, gzip or brotli.
        include: file patterns, for a path.
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
        """Pack and report."""
        from adwarm_airflow.compress_paths import compress_entries, compress_files
        from adwarm_airflow.task_context import open_runtime

        del context
        runtime = open_runtime()
        if self.path:
            return compress_files(runtime.settings, self.path, self.codec, tuple(self.include))
        return compress_entries(runtime, self.codec)
