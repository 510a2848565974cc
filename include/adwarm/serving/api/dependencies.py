"""What routes depend on: the token of a request with the scope that the route demands, and the services."""

from collections.abc import Awaitable, Callable
from typing import Annotated, Any

from fastapi import Depends, Header, Path, Request
from fastapi.security.http import HTTPBearer

from adwarm.model import AccessToken, TokenScope
from adwarm.serving.api.guard import check_single, get_token
from adwarm.serving.api.models import ActorName
from adwarm.serving.problems import unauthorized
from adwarm.serving.services import ServingServices
from adwarm.serving.tokens import require_scope


class _Bearer(HTTPBearer):
    """The security scheme; it returns the token that the guard has authenticated.

    Raises:
        Problem: 401, the request did not pass the guard.
    """

    async def __call__(self, request: Request) -> Any:
        token = get_token(request.scope)
        if token is None:
            raise unauthorized()
        return token


bearer = _Bearer(
    scheme_name="token",
    bearerFormat="adwarm_<id>_<secret>",
    description="A token from `adwarm token create`.",
)


def _demand(scope: TokenScope) -> Callable[[Any], Awaitable[AccessToken]]:
    async def find(token: Annotated[Any, Depends(bearer)]) -> AccessToken:
        found: AccessToken = token
        require_scope(found, scope)
        return found

    return find


async def _services(request: Request) -> ServingServices:
    services: ServingServices = request.app.state.services
    return services


async def _check_query(request: Request) -> None:
    """Refuse a repeated parameter where the route has parameters; FastAPI would take the last value."""
    if request.scope["route"].dependant.query_params:
        check_single([name for name, _ in request.query_params.multi_items()])


ReadToken = Annotated[AccessToken, Depends(_demand(TokenScope.READ))]
EnqueueToken = Annotated[AccessToken, Depends(_demand(TokenScope.ENQUEUE))]
NEEDS_READ = Depends(_demand(TokenScope.READ))
NEEDS_ADMIN = Depends(_demand(TokenScope.ADMIN))
SINGLE_VALUES = Depends(_check_query)
Services = Annotated[ServingServices, Depends(_services)]
ACTOR_TEXT = "Who opens the report; only the token of a trusted backend may say so."
PARTIAL_TEXT = "`allow-partial` allows an answer of other days than those asked for, which names its days."
ActorHeader = Annotated[ActorName | None, Header(alias="Adwarm-Actor", description=ACTOR_TEXT)]
AccountPath = Annotated[str, Path(description="Account id, such as `act_1234`.")]
