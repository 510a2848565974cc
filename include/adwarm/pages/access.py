"""Who visits the page, and what they may do. Each mount implements `PageAccess`: Airflow's login, or a session."""

from collections.abc import Mapping
from dataclasses import dataclass
from enum import StrEnum
from typing import Any, Protocol

from starlette.requests import Request

from adwarm.model import AccessToken


class Permission(StrEnum):
    """What a visitor may do.

    | permission | lets a visitor                                         |
    |------------|--------------------------------------------------------|
    | `view`     | see every tab                                          |
    | `warm`     | warm reports now, retry failed ones                    |
    | `control`  | switch shadow mode and warming, open gates             |
    | `edit`     | create, change, enable and remove strategies           |
    | `purge`    | delete stored entries                                  |
    """

    VIEW = "view"
    WARM = "warm"
    CONTROL = "control"
    EDIT = "edit"
    PURGE = "purge"


@dataclass(frozen=True, slots=True)
class Visitor:
    """A person who is logged in.

    Attributes:
        name: for the page and for recorded actions.
        via: `airflow` or `token`.
        credential: the secret that proves the login, from which the secret of the forms is derived. Never shown.
        permissions: what they may do.
        can_log_out: whether the page shows a button that ends the session.
        token: the token that they logged in with, whose limits apply to what they request; None in Airflow.
    """

    name: str
    via: str
    credential: bytes
    permissions: frozenset[Permission]
    can_log_out: bool = False
    token: AccessToken | None = None

    def __repr__(self) -> str:
        """Return the visitor without the credential."""
        return f"Visitor({self.name!r}, {self.via!r}, {sorted(self.permissions)})"

    def may(self, permission: Permission) -> bool:
        """Return whether the visitor has a permission."""
        return permission in self.permissions


class PageAccess(Protocol):
    """Finds the visitor of a request."""

    async def identify(self, request: Request) -> Visitor | None:
        """Return who sends a request; None when they are not logged in."""
        ...

    def describe_login(self, request: Request) -> Mapping[str, Any]:
        """Return the values of the template `login.html`, which anonymous callers get with 401.

        They are `text`, `takes_token`, `login_url` (or None) and `warning` (or nothing).
        """
        ...
