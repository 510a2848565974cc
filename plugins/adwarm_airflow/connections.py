"""Builds a source from an Airflow connection. The token goes only from the connection to the transport."""

import logging
import threading
from collections.abc import Callable
from typing import Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import mask_secret
from pydantic import ValidationError

from adwarm.foundation.clock import Clock
from adwarm.foundation.errors import BadRequest
from adwarm.settings import Settings, SourceSettings, load_settings
from adwarm.sources.factory import build_factory
from adwarm.sources.protocol import InsightsSource
from adwarm_airflow.table_connections import table_source_factory

DEFAULT_CONNECTION = "facebook_default"
META_TYPES = frozenset({"adwarm_meta", "facebook_social"})
"""Connection types of the ad platform: this package's own, and that of Airflow's Facebook provider. Equal extras."""
_NAMED_TYPES = " or ".join(sorted(META_TYPES))
NO_CONNECTION = "no_connection"
"""Code of the error about a connection that does not exist."""
_PLAIN_EXTRAS = ("graph_url", "api_version", "app_id", "access_tier")
log = logging.getLogger(__name__)
_READING = threading.Lock()


def connection_source_factory(
    settings: Settings, conn_id: str = DEFAULT_CONNECTION, clock: Clock | None = None
) -> Callable[[], InsightsSource]:
    """Return a factory of the source behind the connection `conn_id`.

    A connection of type `adwarm_meta`, or of the Facebook provider's `facebook_social` (extras `app_id`, `app_secret`,
    `access_token`, optionally `graph_url`, `api_version`, `access_tier`), is the ad platform. Any other connection
    holds tables of rows: see `adwarm_airflow.table_connections`. The source of the settings replaces only the default
    connection, when that does not exist, or when it is the platform's and the settings name another source; a warning
    in the log says so. The connection is read once, here, before any thread starts; `reload_connection` reads it again.

    Raises:
        BadRequest: the connection does not exist and nothing replaces it, or an extra is not valid.
    """
    is_default = conn_id == DEFAULT_CONNECTION
    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        if is_default and (settings.source.kind != "meta" or settings.source.access_token):
            return _settings_source_factory(settings, clock, "does not exist")
        raise BadRequest(
            f"connection {conn_id!r} does not exist; check its name, or create one of type adwarm_meta with "
            "app_id, app_secret and access_token in its extra",
            code=NO_CONNECTION,
        ) from None
    if connection.conn_type not in META_TYPES:
        return table_source_factory(settings, connection, conn_id)
    if is_default and settings.source.kind != "meta":
        return _settings_source_factory(settings, clock, "is the platform's, and the settings name another source")
    source = _source_settings_from_extra(settings.source, connection.extra_dejson, conn_id)
    return build_factory(_with_source(settings, source), conn_id, clock)


def meta_source_factory(settings: Settings, conn_id: str) -> Callable[[], InsightsSource]:
    """Return a factory of the ad platform behind a connection; the settings never replace it.

    Raises:
        BadRequest: the connection does not exist, is of another type, has no token, or an extra is not valid.
    """
    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise BadRequest(f"connection {conn_id!r} does not exist; check its name", code=NO_CONNECTION) from None
    if connection.conn_type not in META_TYPES:
        raise BadRequest(
            f"connection {conn_id!r} is of type {connection.conn_type!r}; the ad platform needs {_NAMED_TYPES}"
        )
    source = _source_settings_from_extra(settings.source, connection.extra_dejson, conn_id)
    return build_factory(_with_source(settings, source), conn_id)


def reload_connection(conn_id: str, clock: Clock | None = None) -> Callable[[], InsightsSource]:
    """Read a connection again, because its token is dead, and return a factory of its source.

    One thread of the process reads at a time: Airflow answers the requests of a task one after another, and under
    `dag.test()` a second request at the same time fails. The settings are read again too, because their source may
    replace the default connection.

    Raises:
        BadRequest: as for `connection_source_factory`.
    """
    with _READING:
        return connection_source_factory(load_settings(), conn_id, clock)


def _settings_source_factory(settings: Settings, clock: Clock | None, reason: str) -> Callable[[], InsightsSource]:
    """Return a factory of the settings' source, used instead of the default connection, and log a warning."""
    log.warning("%s", default_replacement_message(settings, reason))
    return build_factory(settings, clock=clock)


def default_replacement_message(settings: Settings, reason: str) -> str:
    """Return the warning that names what replaces the default connection; it contains no secret."""
    kind = settings.source.kind
    what = "the token in ADWARM_SOURCE__ACCESS_TOKEN" if kind == "meta" else f"the {kind} source of ADWARM_SOURCE__*"
    return f"connection {DEFAULT_CONNECTION!r} {reason}; {what} is used instead"


def _source_settings_from_extra(source: SourceSettings, extra: dict[str, Any], conn_id: str) -> SourceSettings:
    token, secret = extra.get("access_token"), extra.get("app_secret")
    if not token:
        raise BadRequest(f"connection {conn_id!r} has no access_token in its extra; add it")
    for value in (token, secret):
        if value:
            mask_secret(str(value))
    values = {name: extra[name] for name in _PLAIN_EXTRAS if extra.get(name)}
    merged = {
        **source.model_dump(),
        **values,
        "kind": "meta",
        "access_token": str(token),
        "app_secret": str(secret) if secret else None,
    }
    try:
        return SourceSettings.model_validate(merged)
    except ValidationError as error:
        details = error.errors(include_input=False, include_url=False)
        reasons = "; ".join(f"{'.'.join(str(part) for part in item['loc'])}: {item['msg']}" for item in details)
        raise BadRequest(f"connection {conn_id!r}: its extra is not valid: {reasons}") from None


def _with_source(settings: Settings, source: SourceSettings) -> Settings:
    return settings.model_copy(update={"source": source})
