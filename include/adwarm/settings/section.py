"""What all sections of the settings share."""

from pydantic import BaseModel, ConfigDict

from adwarm.foundation.errors import BadRequest
from adwarm.foundation.local_time import zone


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
