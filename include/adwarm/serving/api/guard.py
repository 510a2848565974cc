"""Who may call a route: the guard ahead of all routes, and what routes depend on, such as a token with a scope.

The outermost part of the API: nothing behind it is reached without a valid token, except `OPEN_PATHS`.

It also limits paths and bodies, adds the security headers, and turns every error into problem details.
"""

from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from functools import partial
from typing import Annotated, Any, Final, NoReturn

from fastapi import Depends, Header, Path, Request
from fastapi.security.http import HTTPBearer
from starlette.types import ASGIApp, Message, Receive, Scope, Send

from adwarm.foundation.errors import BadRequest
from adwarm.model import AccessToken, TokenScope
from adwarm.serving.api.anonymous import recognize_client
from adwarm.serving.api.errors import NO_STORE, SECURITY_HEADERS, describe_error, describe_problem
from adwarm.serving.api.models import ActorName
from adwarm.serving.http_guard import HttpGuard
from adwarm.serving.problems import Problem, unauthorized
from adwarm.serving.services import ServingServices
from adwarm.serving.tokens import TokenAuthenticator, require_scope

OPEN_PATHS: Final = frozenset({"/healthz", "/readyz"})
"""The only routes that answer without a token. The files of the dashboard hold no data and are served ahead of them."""
MAX_PATH_BYTES: Final = 2_048
"""The most bytes of a path with its query."""
MAX_BODY_BYTES: Final = 65_536
_TOKEN_KEY = "adwarm.token"
ACTOR_TEXT = "Who opens the report: `api` from any token, another class from that of a trusted backend only."
PARTIAL_TEXT = "`allow-partial` allows an answer of other days than those asked for, which names its days."
ActorHeader = Annotated[ActorName | None, Header(alias="Adwarm-Actor", description=ACTOR_TEXT)]
AccountPath = Annotated[str, Path(description="Account id, such as `act_1234`.")]


def check_path_bytes(size: int) -> None:
    """Check the length of a path with its query.

    Raises:
        Problem: 414, it is too long.
    """
    if size > MAX_PATH_BYTES:
        detail = f"path and query have more than {MAX_PATH_BYTES} bytes; send long lists to /v1/batch"
        raise Problem(414, "URI Too Long", detail)


def check_query(names: Sequence[str], parameters: Collection[str]) -> None:
    """Check that a query gives only parameters that the path has, each once; a misspelled one would change nothing.

    Clients and proxies differ in which of two values counts.

    Raises:
        BadRequest: there is no such parameter, or it is there twice.
    """
    for name in names:
        if name not in parameters:
            own_names = ", ".join(parameters) or "none"
            raise BadRequest(f"query.{name[:40]}: there is no such parameter; those of this path: {own_names}")
        if names.count(name) > 1:
            raise BadRequest(f"query.{name[:40]}: the parameter is given more than once; give it once")


def get_token(scope: Mapping[str, Any]) -> AccessToken | None:
    """Return the token that the guard found for a request; None when the request did not pass it."""
    token: AccessToken | None = scope.get(_TOKEN_KEY)
    return token


def find_header(scope: Mapping[str, Any], name: bytes) -> bytes | None:
    """Return the first header with this lower-case name, or None."""
    return next((value for key, value in scope["headers"] if key == name), None)


async def send_problem(send: Send, problem: Problem) -> None:
    """Send a problem as the whole response."""
    headers, body = describe_problem(problem)
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body})


class Guard(HttpGuard):
    """ASGI middleware in front of every route."""

    def __init__(self, app: ASGIApp, authenticator: TokenAuthenticator) -> None:
        super().__init__(app, (*SECURITY_HEADERS, NO_STORE))
        self._authenticator = authenticator

    async def answer(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer a request within the limits and with a valid token."""
        check_path_bytes(len(scope.get("raw_path") or scope["path"].encode()) + len(scope["query_string"]))
        if scope["path"] not in OPEN_PATHS and get_token(scope) is None:
            header = find_header(scope, b"authorization")
            token = await self._authenticator.authenticate(header, partial(recognize_client, scope))
            scope = {**scope, _TOKEN_KEY: token}
        _check_declared_length(scope)
        await super().answer(scope, _Body(receive).receive, send)

    async def answer_error(self, error: Exception, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer with the problem of an error."""
        await send_problem(send, describe_error(error))


def _check_declared_length(scope: Scope) -> None:
    declared = find_header(scope, b"content-length") or b"0"
    if not declared.isdigit() or int(declared[:20]) > MAX_BODY_BYTES:
        _refuse_body()


def _refuse_body() -> NoReturn:
    raise Problem(413, "Content Too Large", f"the body has more than {MAX_BODY_BYTES} bytes; send less at a time")


class _Body:
    """Receives a request's body up to the limit, whatever length the request declares."""

    def __init__(self, receive: Receive) -> None:
        self._receive = receive
        self._size = 0

    async def receive(self) -> Message:
        message = await self._receive()
        self._size += len(message.get("body", b""))
        if self._size > MAX_BODY_BYTES:
            _refuse_body()
        return message


class _Bearer(HTTPBearer):
    """The security scheme; it returns the token that the guard has authenticated."""

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
        access_token: AccessToken = token
        require_scope(access_token, scope)
        return access_token

    return find


async def _services(request: Request) -> ServingServices:
    services: ServingServices = request.app.state.services
    return services


async def _check_query(request: Request) -> None:
    """Check the names of a query; FastAPI would take the last of two values, and ignore what it does not know."""
    models = [field.field_info.annotation for field in request.scope["route"].dependant.query_params]
    parameters = [name for model in models for name in model.model_fields]
    check_query([name for name, _ in request.query_params.multi_items()], parameters)


ReadToken = Annotated[AccessToken, Depends(_demand(TokenScope.READ))]
EnqueueToken = Annotated[AccessToken, Depends(_demand(TokenScope.ENQUEUE))]
NEEDS_READ = Depends(_demand(TokenScope.READ))
NEEDS_ADMIN = Depends(_demand(TokenScope.ADMIN))
CHECKS_QUERY = Depends(_check_query)
Services = Annotated[ServingServices, Depends(_services)]
