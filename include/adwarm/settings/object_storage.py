"""Turns the settings about object storage into the options of this process."""

from typing import Any, Final

from pydantic import SecretStr, TypeAdapter, ValidationError

from adwarm.foundation.storage import StorageOptions, find_family

_OPTIONS: Final = TypeAdapter(dict[str, Any])


def make_storage_options(data_url: str, options: SecretStr | None) -> StorageOptions:
    """Return how this process reaches object storage.

    Args:
        data_url: the effective data URL; options are for its storage, or for every one when it is a local folder.
        options: options of the fsspec file system as JSON.
    """
    return StorageOptions({} if options is None else parse_options(options), find_family(data_url))


def parse_options(text: SecretStr) -> dict[str, Any]:
    """Return the options of a file system.

    Raises:
        ValueError: the text is no JSON object; the message does not contain it.
    """
    try:
        return _OPTIONS.validate_json(text.get_secret_value(), strict=True)
    except ValidationError:
        raise ValueError('write a JSON object, such as {"key": "...", "secret": "..."}') from None
