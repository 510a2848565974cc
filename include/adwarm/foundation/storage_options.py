"""How this process reaches object storage: credentials, endpoint, retries, and how much runs in parallel.

A process has one data URL, and its access log and its tables usually lie beside it, so the options are those of the
process. They come from the settings; in Airflow, what a connection says takes precedence. An unset credential is looked
up by the storage's own library: for `s3://` the standard chain of AWS, for `gs://` the default credentials of Google.
"""

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, Final

_FAMILIES: Final = {"s3": "s3", "s3a": "s3", "gs": "gs", "gcs": "gs"}
_EXTRAS: Final = {"s3": ("s3", "s3fs"), "gs": ("gcs", "gcsfs")}
RETRIES_INSIDE_S3FS: Final = 1
"""botocore makes the attempts; s3fs would multiply them."""


@dataclass(frozen=True, slots=True)
class StorageOptions:
    """What the settings say about object storage.

    Attributes:
        options: options of the fsspec file system of `family`; they may hold credentials.
        family: the storage that `options` are for, `s3`, `gs` or another protocol; empty for every one.
        endpoint_url: address of a storage that speaks the protocol of S3; None for AWS.
        region: region of the bucket; None for that of the environment.
        connect_seconds: timeout of connecting.
        read_seconds: timeout of an answer.
        attempts: how often a request is made that fails for the moment; with growing pauses it bridges some seconds.
        parallel: maximum requests at once, per process; they hide a latency of 10 to 50 ms.
        cache_bytes: how much of what was read or written last stays in memory: a worker reads what it has just stored.
    """

    options: Mapping[str, Any] = field(default_factory=dict, repr=False)
    family: str = ""
    endpoint_url: str | None = None
    region: str | None = None
    connect_seconds: float = 5.0
    read_seconds: float = 30.0
    attempts: int = 4
    parallel: int = 16
    cache_bytes: int = 32_000_000


@dataclass(slots=True)
class _Process:
    settings: StorageOptions = field(default_factory=StorageOptions)
    connections: dict[str, Mapping[str, Any]] = field(default_factory=dict)
    connection_names: set[str] = field(default_factory=set)


_process = _Process()


def use_settings(options: StorageOptions) -> None:
    """Use these options in this process from now on."""
    _process.settings = options


def use_connection(name: str, family: str, options: Mapping[str, Any]) -> None:
    """Use the options of a connection for the storage `family`; they take precedence over those of the settings."""
    _process.connections[family] = dict(options)
    _process.connection_names.add(name)


def uses_connection(name: str) -> bool:
    """Whether this process uses the connection of that name."""
    return name in _process.connection_names


def get_storage_settings() -> StorageOptions:
    """Return the options of the settings that were loaded last."""
    return _process.settings


def find_family(url: str) -> str:
    """Return the storage behind a URL: `s3`, `gs` or another protocol; empty for a local path."""
    scheme, separator, _ = url.partition("://")
    return _FAMILIES.get(scheme, scheme) if separator and scheme != "file" else ""


def find_extra(url: str) -> tuple[str, str] | None:
    """Return the extra of adwarm that brings the file system of a URL, and its package; None when there is none."""
    return _EXTRAS.get(find_family(url))


def options_for(url: str) -> dict[str, Any]:
    """Return the options of the fsspec file system behind a URL; they may hold credentials."""
    family, settings = find_family(url), _process.settings
    applies = settings.family in {"", family}
    options = dict(settings.options) if applies else {}
    connection = _process.connections.get(family)
    if connection is not None:
        options = _merge(options, connection)
    if family == "s3":
        return _merge(_s3_defaults(settings), options)
    if family == "gs":
        return {"use_listings_cache": False, **options}
    return options


def _s3_defaults(settings: StorageOptions) -> dict[str, Any]:
    """Return what s3fs gets without options: its cached listings would hide what other processes write."""
    config = {
        "connect_timeout": settings.connect_seconds,
        "read_timeout": settings.read_seconds,
        "max_pool_connections": settings.parallel,
        "retries": {"mode": "standard", "total_max_attempts": settings.attempts},
    }
    # With more than one range at once, s3fs asks for the size of each object before it reads it.
    defaults: dict[str, Any] = {"use_listings_cache": False, "max_concurrency": 1, "config_kwargs": config}
    if settings.endpoint_url is not None:
        defaults["endpoint_url"] = settings.endpoint_url
    if settings.region is not None:
        defaults["client_kwargs"] = {"region_name": settings.region}
    return defaults


def _merge(base: Mapping[str, Any], over: Mapping[str, Any]) -> dict[str, Any]:
    """Return both mappings as one, and mappings within them too; `over` wins."""
    merged = dict(base)
    for name, value in over.items():
        before = merged.get(name)
        merged[name] = _merge(before, value) if isinstance(before, Mapping) and isinstance(value, Mapping) else value
    return merged
