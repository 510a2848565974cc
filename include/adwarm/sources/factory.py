"""Builds the sources that the settings name: those of adwarm, and those that users write."""

from collections.abc import Callable

from adwarm.foundation.clock import Clock
from adwarm.foundation.errors import BadRequest
from adwarm.settings import Settings, SourceSettings, load_settings
from adwarm.sources.pool import Reload
from adwarm.sources.protocol import Capabilities, InsightsSource
from adwarm.sources.tabular import TableOptions
from adwarm.sources.units import levels_above

_BUILT_IN = frozenset({"meta", "parquet", "sql"})


def build_factory(
    settings: Settings, connection: str = "default", clock: Clock | None = None
) -> Callable[[], InsightsSource]:
    """Return a function that builds the source, anew with each call: threads that work at once need one each.

    Args:
        settings: `settings.source` says which source, and where it is.
        connection: the name under which the source's accounts are stored.

    Raises:
        BadRequest: a setting that the source needs is missing, or the kind is not known; the message says which.
    """
    source = settings.source
    if source.kind == "meta":
        return _meta_factory(source, connection, clock)
    if source.kind not in _BUILT_IN:
        from adwarm.sources.custom import custom_factory

        return custom_factory(source, connection, clock)
    url = source.url
    if not url:
        raise BadRequest(f"the {source.kind} source needs an address; set ADWARM_SOURCE__URL")
    options = table_options(settings, connection)
    if source.kind == "parquet":
        from adwarm.sources.parquet import ParquetSource

        return lambda: ParquetSource(url, options)
    from adwarm.sources.sql import SqlSource

    return lambda: SqlSource(url, source.table, options, limits=settings.sql, call_timeout=source.call_timeout)


def find_source(settings: Settings, connection: str) -> SourceSettings:
    """Return how the source of a connection is read: what it says itself, then what the settings say for all."""
    further = settings.connections.get(connection)
    shared = settings.source.model_dump(exclude_unset=True)
    own = further and SourceSettings.model_validate({**shared, **further.model_dump(exclude_unset=True)})
    return own or (settings.source if connection == "default" else SourceSettings())


def find_capabilities(settings: Settings, connection: str) -> Capabilities:
    """Return what the source of a connection declares, if a user wrote it, else the levels and breakdowns that it has.

    It makes no call.

    Raises:
        BadRequest: the user's source cannot be built.
    """
    source = find_source(settings, connection)
    if source.kind in _BUILT_IN:
        is_meta = source.kind == "meta"
        lowest = "ad" if is_meta else source.level
        return Capabilities(levels_above(lowest), has_breakdowns=is_meta)
    built = build_factory(settings.model_copy(update={"source": source}), connection)()
    built.close()
    return built.capabilities


def find_noun(settings: Settings) -> str:
    """Return what an account of the settings' source is called; a source that cannot be built has accounts."""
    try:
        return find_capabilities(settings, "default").noun
    except BadRequest:
        return Capabilities().noun


def table_options(settings: Settings, connection: str) -> TableOptions:
    """Return how the settings say that a table or files are read."""
    source = settings.source
    return TableOptions(
        columns=source.columns,
        constants=source.constants,
        layout=source.layout,
        level=source.level,
        default_zone=settings.default_zone,
        day_zone=source.day_zone,
        currency=source.currency,
        connection=connection,
    )


def build_factories(settings: Settings, clock: Clock | None = None) -> dict[str, Callable[[], InsightsSource]]:
    """Return functions that build the sources of `settings.connections`, by name.

    What a connection leaves unset is taken from `settings.source`.

    Raises:
        BadRequest: a setting that one of them needs is missing.
    """
    shared = settings.source.model_dump(exclude_unset=True)
    factories = {}
    for name, own in settings.connections.items():
        source = SourceSettings.model_validate({**shared, **own.model_dump(exclude_unset=True)})
        factories[name] = build_factory(settings.model_copy(update={"source": source}), name, clock)
    return factories


def build_reload(settings: Settings, connection: str = "", clock: Clock | None = None) -> Reload:
    """Return a function that reads the source of a connection again from where settings are stored.

    These are the environment, the settings file, and the function that `ADWARM_SECRETS_HOOK` names. Every setting that
    is not about a source stays as it is in `settings`.

    Args:
        connection: a name in `settings.connections`; empty for `settings.source`.
    """

    def reload() -> Callable[[], InsightsSource]:
        new = load_settings()
        current = settings.model_copy(update={"source": new.source, "connections": new.connections})
        if not connection:
            return build_factory(current, clock=clock)
        factories = build_factories(current, clock)
        if connection not in factories:
            raise BadRequest(f"connection {connection!r} is not in ADWARM_CONNECTIONS any more")
        return factories[connection]

    return reload


def _meta_factory(source: SourceSettings, connection: str, clock: Clock | None) -> Callable[[], InsightsSource]:
    from adwarm.sources.meta.source import MetaSource
    from adwarm.sources.meta.transport import MetaCredentials

    credentials = MetaCredentials.from_settings(source)
    return lambda: MetaSource(credentials, source, connection, clock)
