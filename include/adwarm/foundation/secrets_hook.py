"""Calls the function of the user that returns secrets, such as those of a vault."""

from collections.abc import Mapping
from importlib import import_module
from typing import Any

from adwarm.foundation.errors import BadRequest


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
