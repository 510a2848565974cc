"""What all sections of the settings share."""

from typing import Any, Final

from pydantic import BaseModel, ConfigDict, SecretStr, TypeAdapter, ValidationError

from adwarm.foundation.errors import BadRequest
from adwarm.foundation.local_time import zone

_OPTIONS: Final = TypeAdapter(dict[str, Any])


class Section(BaseModel):
    """A section of the settings: it cannot be changed, and refuses names that are no setting."""

    model_config = ConfigDict(frozen=True, extra="forbid")


def check_zone(name: str) -> str:
    """Return `name`.

    Raises:
        ValueError: it is no time zone.
    """
    try:
        zone(name)
    except BadRequest as error:
        raise ValueError(str(error)) from None
    return name


def parse_options(text: SecretStr) -> dict[str, Any]:
    """Return the options of a file system.

    Raises:
        ValueError: the text is no JSON object; the message does not contain it.
    """
    try:
        return _OPTIONS.validate_json(text.get_secret_value(), strict=True)
    except ValidationError:
        raise ValueError('write a JSON object, such as {"key": "...", "secret": "..."}') from None
