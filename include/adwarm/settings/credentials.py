"""Registers the secrets among settings and environment variables, so that no text of this process shows them."""

import json
import re
from collections.abc import Iterator, Mapping
from importlib import import_module
from typing import Any
from urllib.parse import unquote

from pydantic import BaseModel, SecretStr

from adwarm.foundation.errors import BadRequest
from adwarm.foundation.redaction import register_secret, register_url

_VARIABLE = re.compile(r"(?:AWS|AZURE|FSSPEC|GCS|GOOGLE|PG|SNOWFLAKE)\w*", re.ASCII)
"""Variables that libraries of databases and object stores read by themselves."""
_SECRET_NAME = re.compile(
    r"secret|token|password|passwd|account_key|private_key$|access_key$|connection_string|sas", re.IGNORECASE
)
_URL_PART = re.compile(r"[^/?&=@:#]{8,}")
_LOOKS_RANDOM = re.compile(r"(?=.*(?:\d|[a-z][A-Z]))[\w%+=-]+")


def register_settings(settings: BaseModel) -> None:
    """Register every secret value of `settings` and of its sections, and the passwords in its URLs."""
    for value in _values(settings):
        if isinstance(value, SecretStr):
            secret = value.get_secret_value()
            register_secret(secret)
            if secret.startswith("{"):
                register_options(secret)
            elif "://" in secret:
                _register_parts(secret)
        else:
            register_url(value)


def register_environment(variables: Mapping[str, str]) -> None:
    """Register the credentials of databases and object stores, such as `AWS_SECRET_ACCESS_KEY` or `FSSPEC_S3`."""
    for name, value in variables.items():
        if not _VARIABLE.fullmatch(name):
            continue
        if value.startswith("{"):
            register_options(value)
        elif _SECRET_NAME.search(name):
            register_secret(value)


def _values(value: Any) -> Iterator[SecretStr | str]:
    """Yield every secret and every text in a model, mapping or sequence."""
    if isinstance(value, SecretStr | str):
        yield value
    elif isinstance(value, BaseModel):
        for name in type(value).model_fields:
            yield from _values(getattr(value, name))
    elif isinstance(value, Mapping):
        for item in value.values():
            yield from _values(item)
    elif isinstance(value, list | tuple):
        for item in value:
            yield from _values(item)


def _register_parts(url: str) -> None:
    """Register the tokens in a secret URL, which an error may show without the rest of it."""
    register_url(url)
    for part in _URL_PART.findall(url.partition("://")[2]):
        if _LOOKS_RANDOM.fullmatch(part):
            register_secret(part)
            register_secret(unquote(part))


def register_options(text: str) -> None:
    """Register the credentials in options of fsspec that are written as JSON, at any depth."""
    try:
        options = json.loads(text)
    except ValueError:
        return
    _register_values(options)


def _register_values(options: Any) -> None:
    if isinstance(options, Mapping):
        for name, value in options.items():
            if isinstance(value, str) and _SECRET_NAME.search(str(name)):
                register_secret(value)
            _register_values(value)
    elif isinstance(options, list):
        for value in options:
            _register_values(value)


def call_secrets_hook(name: str, variable: str) -> dict[str, Any]:
    """Return what the function `name` returns: settings by name, sections as nested mappings.

    Args:
        name: `package.module:function`; the function takes no argument.
        variable: where the name comes from, for messages.

    Raises:
        BadRequest: there is no such function, it failed, or it returned something else. The message contains no value.
    """
    module, _, function = name.partition(":")
    try:
        values = getattr(import_module(module), function)()
    except Exception as error:  # the user's own code; the text of its error may be a secret
        raise BadRequest(
            f"{variable} names {name!r}, which cannot be called ({type(error).__name__}); write package.module:function"
        ) from None
    if not isinstance(values, Mapping):
        raise BadRequest(f"{variable} names {name!r}, which returned no mapping of settings")
    return dict(values)
