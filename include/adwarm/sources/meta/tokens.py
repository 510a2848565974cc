"""When an access token ends, and a longer one in exchange for it.

Only the app of a token can ask about it: the call is authorized by the app's id and secret. A token of the system user
of a business cannot ask about itself; that of an app's developer can.
"""

from collections.abc import Mapping
from datetime import UTC, datetime
from typing import Any

from pydantic import SecretStr

from adwarm.foundation.clock import Clock
from adwarm.foundation.errors import BadRequest, TokenDead, Transient
from adwarm.foundation.redaction import register_secret
from adwarm.settings import SourceSettings
from adwarm.sources.meta.transport import GraphTransport, MetaCredentials
from adwarm.sources.protocol import TokenLife

_SYSTEM_USER = "SYSTEM_USER"
_NEEDS_APP = "add app_id and app_secret to the connection: the platform tells only the app when its token ends"
_LATEST = datetime(9999, 1, 1, tzinfo=UTC).timestamp()


def read_token_life(credentials: MetaCredentials, settings: SourceSettings, clock: Clock) -> TokenLife:
    """Return when the token ends. Costs one request, a GET whose address has the token, as the platform requires.

    Raises:
        BadRequest: the platform tells only the app, whose id or secret is not set.
        TokenDead: it has ended already.
    """
    app = _app_token(credentials)
    inspector = credentials if app is None else MetaCredentials(app, credentials.app_id)
    graph = GraphTransport(inspector, settings, clock)
    try:
        body = graph.get(("debug_token",), {"input_token": credentials.access_token.get_secret_value()}).body
    except BadRequest as error:
        raise BadRequest(f"{error}; {_NEEDS_APP}" if app is None else str(error), code=error.code) from None
    finally:
        graph.close()
    return parse_token_life(body)


def extend_token(credentials: MetaCredentials, settings: SourceSettings, clock: Clock) -> tuple[SecretStr, TokenLife]:
    """Return a token that lives longer, and when it ends. Costs three requests; the token so far stays valid.

    Raises:
        BadRequest: the app is not known, or the token never ends.
    """
    app, secret = credentials.app_id, credentials.app_secret
    if app is None or secret is None:
        raise BadRequest(_NEEDS_APP)
    life = read_token_life(credentials, settings, clock)
    if life.expires_at is None:
        raise BadRequest("the token never ends, so there is nothing to extend")
    params = {
        "grant_type": "fb_exchange_token",
        "client_id": app,
        "client_secret": secret.get_secret_value(),
        "fb_exchange_token": credentials.access_token.get_secret_value(),
        **({"set_token_expires_in_60_days": "true"} if life.kind == _SYSTEM_USER else {}),
    }
    graph = GraphTransport(credentials, settings, clock)
    try:
        token = graph.get(("oauth", "access_token"), params).body.get("access_token")
    finally:
        graph.close()
    if not isinstance(token, str) or not token:
        raise Transient("Meta's response to an exchange of the token has none", code="no_token")
    register_secret(token)
    longer = MetaCredentials(SecretStr(token), app, secret)
    return longer.access_token, read_token_life(longer, settings, clock)


def parse_token_life(body: Mapping[str, Any]) -> TokenLife:
    """Return the life of the token that a response describes; a time of 0 means that there is no end.

    Raises:
        TokenDead: the token is not valid any more.
        Transient: the response does not say when it ends.
    """
    data = body.get("data")
    if not isinstance(data, dict) or (data.get("is_valid") is not False and "expires_at" not in data):
        raise Transient("Meta's response about the token does not say when it ends", code="no_expiry")
    if data.get("is_valid") is False:
        error = data.get("error")
        why = error.get("message") if isinstance(error, dict) else None
        raise TokenDead(f"Meta: {str(why or 'the token is not valid')[:400]}; renew the token in the connection")
    kind = data.get("type")
    return TokenLife(
        expires_at=_moment(data["expires_at"]),
        data_access_until=_moment(data.get("data_access_expires_at")),
        kind=kind[:40] if isinstance(kind, str) else "",
    )


def _app_token(credentials: MetaCredentials) -> SecretStr | None:
    if credentials.app_id is None or credentials.app_secret is None:
        return None
    return SecretStr(f"{credentials.app_id}|{credentials.app_secret.get_secret_value()}")


def _moment(seconds: Any) -> datetime | None:
    is_time = isinstance(seconds, int) and 0 < seconds < _LATEST
    return datetime.fromtimestamp(seconds, UTC) if is_time else None
