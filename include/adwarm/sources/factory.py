"""Makes the sources that the settings name; the only place that knows all of them."""

from collections.abc import Callable
from typing import Any

from adwarm.foundation.clock import Clock
from adwarm.foundation.errors import BadRequest
from adwarm.settings import Settings, SourceSettings
from adwarm.sources.protocol import InsightsSource


def build_factory(
    settings: Settings, connection: str = "default", clock: Clock | None = None
) -> Callable[[], InsightsSource]:
    """Return what builds the source; call it once per worker thread.

    Args:
        settings: `settings.source` says which source, and where it is.
        connection: the name under which the source's accounts are kept.
        clock: the time by which parking times are stated; pass the run's own clock.

    Raises:
        BadRequest: a setting that the source needs is missing; the message says which.
    """
    source = settings.source
    if source.kind == "meta":
        return _meta(source, connection, clock)
    url = source.url
    if not url:
        raise BadRequest(f"the {source.kind} source needs an address; set ADWARM_SOURCE__URL")
    options = table_options(settings, connection)
    if source.kind == "parquet":
        from adwarm.sources.parquet import ParquetSource

        return lambda: ParquetSource(url, **options)
    from adwarm.sources.sql import SqlSource

    return lambda: SqlSource(url, source.table, limits=settings.sql, **options)


def table_options(settings: Settings, connection: str) -> dict[str, Any]:
    """Return what the settings say of a table or of files, as the sources take it."""
    source = settings.source
    return {
        "columns": source.columns,
        "constants": source.constants,
        "layout": source.layout,
        "level": source.level,
        "default_zone": settings.default_zone,
        "day_zone": source.day_zone,
        "currency": source.currency,
        "connection": connection,
    }


def build_factories(settings: Settings, clock: Clock | None = None) -> dict[str, Callable[[], InsightsSource]]:
    """Return what builds the sources of `settings.connections`, by name; what one leaves unset is as in the source.

    Raises:
        BadRequest: a setting that one of them needs is missing.
    """
    shared = settings.source.model_dump(exclude_unset=True)
    found = {}
    for name, own in settings.connections.items():
        source = SourceSettings.model_validate({**shared, **own.model_dump(exclude_unset=True)})
        found[name] = build_factory(settings.model_copy(update={"source": source}), name, clock)
    return found


def _meta(source: SourceSettings, connection: str, clock: Clock | None) -> Callable[[], InsightsSource]:
    from adwarm.sources.meta.credentials import MetaCredentials
    from adwarm.sources.meta.source import MetaSource

    credentials = MetaCredentials.from_settings(source)
    return lambda: MetaSource(credentials, source, connection, clock)
