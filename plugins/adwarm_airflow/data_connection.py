"""Reads the credentials of the object storage from an Airflow connection; no provider is needed.

A connection made for the hooks of the Amazon or the Google provider works as it is, as far as it holds credentials or
leaves them to the environment. Roles that a hook would assume are refused, because nobody would assume them here.
"""

import json
from collections.abc import Callable, Mapping
from typing import Any

from airflow.sdk import BaseHook
from airflow.sdk.exceptions import AirflowNotFoundException
from airflow.sdk.log import mask_secret

from adwarm.foundation.errors import BadRequest
from adwarm.foundation.storage import find_family, use_connection, uses_connection
from adwarm.settings import Settings
from adwarm.settings.credentials import register_options

AWS_TYPES = frozenset({"aws", "s3"})
GOOGLE_TYPES = frozenset({"google_cloud_platform", "gcpssh"})
_ROLE_EXTRAS = ("role_arn", "assume_role_method", "assume_role_with_web_identity_token_file")
_GOOGLE_PREFIX = "extra__google_cloud_platform__"
_SECRETS = ("secret", "token", "key")


def use_data_connection(settings: Settings) -> None:
    """Use the credentials of the connection that `data_connection` names in this process; nothing when it names none.

    The connection is read once in a process.

    Raises:
        BadRequest: it does not exist, is of another type, or its extra is not usable; the message says what to do.
    """
    conn_id = settings.data_connection
    if conn_id is None or uses_connection(conn_id):
        return
    try:
        connection = BaseHook.get_connection(conn_id)
    except AirflowNotFoundException:
        raise BadRequest(
            f"ADWARM_DATA_CONNECTION: connection {conn_id!r} does not exist; check its name, or create one of type aws "
            "or google_cloud_platform",
            code="no_connection",
        ) from None
    family, parse = _find_parser(str(connection.conn_type or ""), conn_id)
    urls = [url for url in (settings.data, settings.access_log.url) if url]
    if not any(find_family(url) == family for url in urls):
        raise BadRequest(
            f"ADWARM_DATA_CONNECTION: connection {conn_id!r} of type {connection.conn_type!r} is for {family}:// URLs, "
            "and neither the data URL nor that of the access log is one"
        )
    options = parse(connection, conn_id)
    _hide(options)
    use_connection(conn_id, family, options)


def _find_parser(conn_type: str, conn_id: str) -> tuple[str, Callable[[Any, str], dict[str, Any]]]:
    if conn_type in AWS_TYPES:
        return "s3", aws_options
    if conn_type in GOOGLE_TYPES:
        return "gs", google_options
    raise BadRequest(
        f"ADWARM_DATA_CONNECTION: connection {conn_id!r} is of type {conn_type!r}; use one of type aws or "
        "google_cloud_platform"
    )


def aws_options(connection: Any, conn_id: str) -> dict[str, Any]:
    """Return a connection of type `aws` as options of s3fs.

    Login and password are the key and the secret, or the extras `aws_access_key_id`, `aws_secret_access_key` and
    `aws_session_token`; without them the standard chain of AWS is used, with `profile_name` where it is set. Also read:
    `region_name`, `endpoint_url` (of the connection, or of its S3 client in `service_config`), `verify`.

    Raises:
        BadRequest: the connection assumes a role, or has half a key.
    """
    extra = connection.extra_dejson
    role = next((name for name in _ROLE_EXTRAS if extra.get(name)), None)
    if role is not None:
        raise BadRequest(
            f"ADWARM_DATA_CONNECTION: connection {conn_id!r} has {role} in its extra, which adwarm does not assume; "
            "give the machine the role, or set profile_name to a profile that assumes it"
        )
    key = connection.login or extra.get("aws_access_key_id")
    secret = connection.password or extra.get("aws_secret_access_key")
    if bool(key) != bool(secret):
        raise BadRequest(
            f"ADWARM_DATA_CONNECTION: connection {conn_id!r} needs both login and password, or neither of them"
        )
    service = _mapping(_mapping(extra.get("service_config")).get("s3"))
    client = {
        "region_name": extra.get("region_name") or service.get("region_name"),
        "verify": extra.get("verify"),
    }
    options = {
        "key": key,
        "secret": secret,
        "token": extra.get("aws_session_token"),
        "profile": extra.get("profile_name"),
        "endpoint_url": service.get("endpoint_url") or extra.get("endpoint_url"),
        "client_kwargs": {name: value for name, value in client.items() if value is not None},
        "config_kwargs": _mapping(extra.get("config_kwargs")),
    }
    return {name: value for name, value in options.items() if value not in (None, "", {})}


def google_options(connection: Any, conn_id: str) -> dict[str, Any]:
    """Return a connection of type `google_cloud_platform` as options of gcsfs.

    The extras are `keyfile_dict` (the key as JSON or as text), `key_path` or `token`, and `project`; without a key the
    default credentials of Google are used.

    Raises:
        BadRequest: the key is not JSON.
    """
    extra = {name.removeprefix(_GOOGLE_PREFIX): value for name, value in connection.extra_dejson.items()}
    key = extra.get("keyfile_dict")
    if isinstance(key, str) and key:
        try:
            key = json.loads(key)
        except ValueError:
            raise BadRequest(
                f"ADWARM_DATA_CONNECTION: keyfile_dict in the extra of connection {conn_id!r} is not JSON; paste the "
                "key file as it is"
            ) from None
    options = {
        "token": key or extra.get("key_path") or extra.get("token"),
        "project": extra.get("project"),
    }
    return {name: value for name, value in options.items() if value}


def _mapping(value: Any) -> dict[str, Any]:
    return dict(value) if isinstance(value, Mapping) else {}


def _hide(options: Mapping[str, Any]) -> None:
    """Keep the credentials out of the logs of Airflow and of adwarm."""
    register_options(json.dumps(dict(options)))
    for name in _SECRETS:
        value = options.get(name)
        if isinstance(value, Mapping):
            value = value.get("private_key")
        if isinstance(value, str):
            mask_secret(value)
