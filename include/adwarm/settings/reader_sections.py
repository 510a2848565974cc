"""The sections of the settings about what readers get: compression, the size of the cache, and the read API."""

import re
from fnmatch import fnmatchcase
from pathlib import Path
from typing import Literal

from pydantic import Field, ValidationInfo, field_validator

from adwarm.settings.sections import Section

CodecName = Literal["zstd", "gzip", "brotli", "identity"]
_LEVELS = {"zstd": range(1, 20), "gzip": range(10), "brotli": range(12)}
_USUAL_LEVELS: dict[CodecName, int] = {"zstd": 6, "gzip": 6, "brotli": 5, "identity": 0}
"""A report of 50 ads takes at most some milliseconds; the strongest levels take up to 100 times as long."""


class CompressionSettings(Section):
    """How entries are compressed, and which."""

    enabled: bool = Field(True, description="Whether entries are compressed; false stores them as they are.")
    codec: CodecName = Field("zstd", description="Codec of stored entries.")
    level: int | None = Field(
        None,
        description="Its level: 1 to 19 of zstd, 0 to 9 of gzip, 0 to 11 of brotli; unset: 6, 6 and 5. Readers who do "
        "not accept the codec get another one at that level.",
    )
    threshold_bytes: int = Field(512, ge=0, description="Smaller payloads are stored uncompressed.")
    content_types: tuple[str, ...] = Field(
        ("application/*", "text/*"), description="Content types that are compressed, as JSON; `*` matches any text."
    )
    include: tuple[str, ...] = Field(
        ("*",), description="Entries that are compressed: patterns of `account/report/date range`, as JSON."
    )
    exclude: tuple[str, ...] = Field((), description="Entries that are not, such as `act_1/*`; wins over `INCLUDE`.")
    max_decoded_bytes: int = Field(
        64 * 2**20, ge=1024, description="Larger decompressed payloads are refused (decompression bombs)."
    )
    cache_bytes: int = Field(16 * 2**20, ge=0, description="Size of the cache of decompressed payloads.")

    def is_compressed(self, content_type: str, name: str | None = None) -> bool:
        """Return whether a payload of this type and name is compressed, if it is large enough.

        Args:
            content_type: its type; parameters such as a charset do not count.
            name: `account/report/date range` of an entry; None when it has no name, which every pattern allows.
        """
        bare = content_type.partition(";")[0].strip().lower()
        is_type_included = any(fnmatchcase(bare, pattern.lower()) for pattern in self.content_types)
        return self.enabled and is_type_included and (name is None or self.is_included(name))

    def is_included(self, name: str) -> bool:
        """Return whether the patterns include an entry's `account/report/date range`."""
        is_included = any(fnmatchcase(name, pattern) for pattern in self.include)
        return is_included and not any(fnmatchcase(name, pattern) for pattern in self.exclude)

    def get_level(self, codec: CodecName) -> int:
        """Return the level at which `codec` compresses: that of the settings for their codec, else its usual one."""
        return self.level if self.level is not None and codec == self.codec else _USUAL_LEVELS[codec]

    def with_codec(self, codec: CodecName, level: int) -> "CompressionSettings":
        """Return the same settings with another codec of stored entries, and its level."""
        return self.model_copy(update={"codec": codec, "level": level})

    @field_validator("level")
    @classmethod
    def _codec_has_the_level(cls, level: int | None, info: ValidationInfo) -> int | None:
        levels = _LEVELS.get(info.data.get("codec", "identity"))
        if level is not None and levels is not None and level not in levels:
            raise ValueError(f"the levels of {info.data['codec']} are {levels[0]} to {levels[-1]}")
        return level


class CacheSettings(Section):
    """How much is kept of the stored entries."""

    max_bytes: int = Field(
        20 * 2**30, ge=2**20, description="Compressed bytes of all entries; above it the least likely reads go first."
    )


class ServingSettings(Section):
    """The read API."""

    host: str = Field("127.0.0.1", description="Address to listen on.")
    port: int = Field(8950, ge=1, le=65_535, description="Port to listen on.")
    pointer_seconds: float = Field(
        1.0, ge=0, le=1, description="How long an entry's row is reused without asking the database; 0: never."
    )
    memory_bytes: int = Field(64 * 2**20, ge=0, description="Size of the cache of response bodies in memory.")
    disk_bytes: int = Field(2**30, ge=0, description="Size of the cache of response bodies in `home`.")
    max_waiters_per_token: int = Field(
        8,
        ge=1,
        le=1_000,
        description="Requests of one token that wait at a time in one process; more for a backend that reads for many.",
    )
    max_queued_per_token: int = Field(10, ge=1, le=10_000, description="Queued requests of one token.")
    cors_origins: tuple[str, ...] = Field((), description="Origins of web pages that may call the API, as JSON.")
    dashboard: Path | None = Field(
        None, description="Folder of the built dashboard; its files are served at `/dashboard/` without a token."
    )
    log_opens: bool = Field(True, description="Whether opens are added to adwarm's own access log.")

    @field_validator("cors_origins")
    @classmethod
    def _origins_have_no_path(cls, origins: tuple[str, ...]) -> tuple[str, ...]:
        """Refuse what no browser sends as an origin, so that a typing error does not just close the API."""
        for origin in origins:
            if not re.fullmatch(r"https?://[^/\s*]+", origin):
                raise ValueError("each origin is a scheme and a host, such as https://dash.example.com, without a path")
        return origins
