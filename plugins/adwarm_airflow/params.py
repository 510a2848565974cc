"""Words from trigger forms and DAG arguments, checked at the edge with an error that says what to write."""

from collections.abc import Callable
from typing import TypeVar

from adwarm.foundation.errors import BadRequest

T = TypeVar("T")


def parse_param(parse: Callable[[str], T], text: str) -> T:
    """Return what `parse` makes of `text`.

    Raises:
        BadRequest: `parse` refused it.
    """
    try:
        return parse(text)
    except ValueError as error:
        raise BadRequest(str(error)) from None
