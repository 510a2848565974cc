"""Calls the Graph API; a call returns a decoded object or raises an error of `adwarm.foundation.errors`.

The token is sent in the `Authorization` header only; with an app secret, `appsecret_proof` signs it. A call has one
deadline and a size limit (both in `wire`). No error contains a token or a URL, and none is an exception class of a
library.
"""

import hashlib
import hmac
import http.client
import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cached_property, partial
from typing import Any, Final
from urllib.parse import quote, urlencode

import orjson
import requests
from pydantic import SecretStr
from requests.exceptions import InvalidSchema, InvalidURL, MissingSchema
from urllib3.exceptions import HTTPError
from urllib3.exceptions import TimeoutError as WireTimeout

from adwarm.foundation.clock import Clock
from adwarm.foundation.errors import SLOW_BODY, AdwarmError, BadRequest, Transient
from adwarm.foundation.redaction import redact, register_secret
from adwarm.model import Scope, ScopeKind, UsageSample
from adwarm.settings import SourceSettings
from adwarm.sources.meta.graph_errors import CallContext, parse_error, too_many_requests
from adwarm.sources.meta.response_headers import (
    ClockOffset,
    parse_api_version,
    parse_retry_after,
    parse_usage_headers,
)
from adwarm.sources.meta.wire import BoundedSession, CallBounds, read_body
from adwarm.sources.units import CONNECT_SECONDS, MAX_RESPONSE_BYTES

_WRONG_ADDRESS: Final = (InvalidSchema, InvalidURL, MissingSchema)


@dataclass(frozen=True, slots=True)
class MetaCredentials:
    """The credentials of a connection. From its creation on, every text of this process hides them.

    Attributes:
        app_id: names the app's capacity scope; without it, the token's scope stands for the app.
        app_secret: signs the token in every call when set.
    """

    access_token: SecretStr
    app_id: str | None = None
    app_secret: SecretStr | None = None

    def __post_init__(self) -> None:
        for secret in (self.access_token, self.app_secret):
            register_secret(secret.get_secret_value() if secret else None)

    @classmethod
    def from_settings(cls, settings: SourceSettings) -> "MetaCredentials":
        """Return the credentials in the settings.

        Raises:
            BadRequest: there is no token.
        """
        if settings.access_token is None or not settings.access_token.get_secret_value():
            raise BadRequest(
                "there is no access token; set ADWARM_SOURCE__ACCESS_TOKEN or name a connection; to try adwarm without "
                "one, run `adwarm simulate`"
            )
        return cls(settings.access_token, settings.app_id, settings.app_secret)

    @property
    def digest(self) -> str:
        """Sixteen hex digits that change when the token, the app or its secret does."""
        secret = self.app_secret.get_secret_value() if self.app_secret else ""
        parts = "\0".join([self.access_token.get_secret_value(), self.app_id or "", secret])
        return hashlib.sha256(parts.encode()).hexdigest()[:16]

    @property
    def token_scope(self) -> Scope:
        """The token's capacity scope, named by a hash."""
        digest = hashlib.sha256(self.access_token.get_secret_value().encode()).hexdigest()
        return Scope(ScopeKind.TOKEN, digest[:12])

    @property
    def app_scope(self) -> Scope:
        """The app's capacity scope."""
        return Scope(ScopeKind.APP, self.app_id) if self.app_id else self.token_scope


_SUBJECT = re.compile(r"me|debug_token|oauth|(?:act_)?[0-9]+", re.ASCII)
"""What calls are about; an account of another platform could be a path of its own here."""
_JSON_TYPES = frozenset({"application/json", "text/javascript", "application/javascript"})
RAISED_BY_LIBRARIES: Final = (
    HTTPError,
    http.client.HTTPException,
    OSError,
    ValueError,
    ArithmeticError,
    RecursionError,
)


@dataclass(frozen=True, slots=True)
class GraphResponse:
    """A decoded response with usage, version and warning of its headers."""

    body: dict[str, Any]
    usage: tuple[UsageSample, ...]
    size_bytes: int = 0
    api_version: str = ""
    version_warning: str = ""


@dataclass(frozen=True, slots=True)
class BatchCall:
    """One GET of a batch: path and query relative to the version, and the account it concerns."""

    relative_url: str
    account_id: str


@dataclass(frozen=True, slots=True)
class _Received:
    status: int
    content_type: str
    headers: Mapping[str, str]
    content: bytes


class GraphTransport:
    """Calls the Graph API with one token. Used by one thread at a time; keeps its connection open between calls."""

    def __init__(self, credentials: MetaCredentials, settings: SourceSettings, clock: Clock) -> None:
        self._credentials = credentials
        self._clock = clock
        self._offset = ClockOffset(clock)
        self._bounds = CallBounds(settings.read_timeout, settings.call_timeout, MAX_RESPONSE_BYTES)
        self._full_access = settings.access_tier == "standard_access"
        self._version = settings.api_version
        self._url = f"{settings.graph_url.rstrip('/')}/{self._version}/"
        self._http = BoundedSession(self._bounds, self._url)
        token, secret = credentials.access_token.get_secret_value(), credentials.app_secret
        self._http.auth = partial(_send_token, token)  # unlike a header of the session, before a .netrc file
        if secret:
            proof = hmac.new(secret.get_secret_value().encode(), token.encode(), hashlib.sha256)
            self._http.params = {"appsecret_proof": proof.hexdigest()}

    @property
    def clock_offset_seconds(self) -> float | None:
        """How far the platform's clock is ahead of ours, in seconds; None before the first response."""
        return self._offset.seconds

    def close(self) -> None:
        """Close the connections of the HTTP session."""
        self._http.close()

    def get(self, path: tuple[str, ...], params: Mapping[str, Any], account_id: str | None = None) -> GraphResponse:
        """Return the response to a GET of `path`.

        Args:
            path: the segments of the path below the version.
            params: query parameters; lists and dicts are sent as JSON.

        Raises:
            Transient, Throttled, TooMuchData, Denied, TokenDead, BadRequest, NotFound: as the response says.
        """
        return self._parse_response(self._call("GET", path, params), self.call_context(account_id, path))

    def post(self, path: tuple[str, ...], params: Mapping[str, Any], account_id: str | None = None) -> GraphResponse:
        """Return the response to a POST of `params` as a form; otherwise like `get`."""
        return self._parse_response(self._call("POST", path, params), self.call_context(account_id, path))

    def batch(self, calls: Sequence[BatchCall]) -> list[GraphResponse | AdwarmError]:
        """Make up to 50 GETs in one request, and return the response or the error of each, in order.

        Raises:
            Transient, Throttled, TokenDead, BadRequest: the batch as a whole failed.
        """
        batch = [{"method": "GET", "relative_url": f"{self._version}/{entry.relative_url}"} for entry in calls]
        received = self._call("POST", (), {"batch": batch, "include_headers": "true"})
        responses = self._decoded(received, self.call_context(None))
        if not isinstance(responses, list):
            self._parse_response(received, self.call_context(None))
        if not isinstance(responses, list) or len(responses) != len(calls):
            raise Transient("Meta's response to a batch has not one response for each of its calls", code="batch")
        return [self._parse_batch_item(response, entry) for response, entry in zip(responses, calls, strict=True)]

    def call_context(self, account_id: str | None, path: tuple[str, ...] = ()) -> CallContext:
        """Return the scopes and secrets of a call of `path` about `account_id`."""
        credentials = self._credentials
        token = credentials.access_token.get_secret_value()
        secret = credentials.app_secret.get_secret_value() if credentials.app_secret else ""
        return CallContext(
            account_id=account_id,
            account=Scope(ScopeKind.ACCOUNT, account_id) if account_id else None,
            app=credentials.app_scope,
            token=credentials.token_scope,
            secrets=(token, quote(token, safe=""), secret),
            full_access=self._full_access,
            is_account_node=account_id is not None and path[:1] == (account_id,),
        )

    def _call(self, method: str, path: tuple[str, ...], params: Mapping[str, Any]) -> _Received:
        if path and not _SUBJECT.fullmatch(path[0]):
            raise BadRequest(f"{path[0]} is no account of Meta, whose ids are act_ and digits")
        self._bounds.start()
        timeout = self._bounds.connect_timeout_seconds(CONNECT_SECONDS)
        query = {name: value if isinstance(value, str) else orjson.dumps(value) for name, value in params.items()}
        try:
            request, environment = self._prepare(method, "/".join(path), query)
            response = self._http.send(request, timeout=timeout, **environment)
            self._bounds.mark_head_complete()
            self._offset.record(response.headers.get("Date"))
            kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
            return _Received(response.status_code, kind, response.headers, read_body(response, self._bounds))
        except AdwarmError as error:
            failure = error
        except RAISED_BY_LIBRARIES as error:
            failure = network_error(error, self._bounds)
        self._http.close()  # the rest of the response must not be read by a later call
        try:
            raise failure  # outside the handler, so that no chained exception shows the URL
        finally:
            del failure  # it holds this frame, which would hold it and what was read until garbage is collected

    def _prepare(
        self, method: str, path: str, query: Mapping[str, str | bytes]
    ) -> tuple[requests.PreparedRequest, dict[str, Any]]:
        """Return a request, and what the environment says about it: proxies and certificates."""
        first, environment = self._first
        if method == "POST":
            return self._http.prepare_request(requests.Request(method, self._url + path, data=query)), environment
        request, (address, _, proof) = first.copy(), str(first.url).partition("?")
        request.url = f"{address}{path}?{'&'.join(filter(None, (proof, urlencode(query))))}"
        return request, environment

    @cached_property
    def _first(self) -> tuple[requests.PreparedRequest, dict[str, Any]]:
        """A GET that others are copies of: it takes a third of a call to prepare each anew."""
        request = self._http.prepare_request(requests.Request("GET", self._url))
        return request, {**self._http.merge_environment_settings(str(request.url), {}, None, None, None)}

    def _parse_response(self, received: _Received, caller: CallContext) -> GraphResponse:
        body = self._decoded(received, caller)
        if not isinstance(body, dict):
            raise self._not_an_object(received, caller)
        now, retry_after = self._clock.now(), self._retry_after(received)
        if "error" in body:
            error = body["error"] if isinstance(body["error"], dict) else {"message": body["error"]}
            usage = parse_usage_headers(received.headers, caller.account, caller.app, error.get("code"))
            raise parse_error(error, received.status, caller, usage=usage, now=now, retry_after=retry_after)
        if received.status != 200:
            raise self._status_error(received, caller)
        usage = parse_usage_headers(received.headers, caller.account, caller.app)
        return GraphResponse(body, usage, len(received.content), *parse_api_version(received.headers))

    def _parse_batch_item(self, response: Any, entry: BatchCall) -> GraphResponse | AdwarmError:
        if not isinstance(response, dict):  # null: the platform ran out of time before this call
            return Transient("Meta did not get to this call of a batch", code="not_reached")
        code, content = response.get("code"), response.get("body")
        if not isinstance(code, int) or not isinstance(content, str):
            return Transient("Meta's response to a call of a batch has no status or no body", code="not_json")
        received = _Received(code, "application/json", _headers_of(response.get("headers")), content.encode())
        try:
            return self._parse_response(received, self.call_context(entry.account_id))
        except AdwarmError as error:
            return error

    def _decoded(self, received: _Received, caller: CallContext) -> Any:
        """Return the JSON value of a body."""
        if received.content_type not in _JSON_TYPES:
            if received.status == 200:
                kind = redact(received.content_type[:60], caller.secrets, hide_urls=True)
                raise Transient(f"Meta responded with {kind or 'no content type'}", code="not_json")
            raise self._status_error(received, caller)
        try:
            return orjson.loads(received.content)
        except ValueError:  # truncated, nested too deeply, or not JSON, with any status
            self._http.close()  # the rest must not be read as the next response
        raise Transient("Meta's response is not complete JSON", code="not_json")

    def _not_an_object(self, received: _Received, caller: CallContext) -> AdwarmError:
        if received.status >= 400:
            return self._status_error(received, caller)
        return Transient("Meta's response is not a complete JSON object", code="not_json")

    def _status_error(self, received: _Received, caller: CallContext) -> AdwarmError:
        status, retry_after = received.status, self._retry_after(received)
        if status == 429:
            return too_many_requests(caller, self._clock.now(), retry_after)
        if status >= 500 or status in {408, 425}:
            message = f"Meta responded with HTTP {status} and no error of its own"
            return Transient(message, code=f"http_{status}", retry_after=retry_after)
        return BadRequest(f"HTTP {status} is not a response of the Graph API; check graph_url", code=f"http_{status}")

    def _retry_after(self, received: _Received) -> float | None:
        lowered = {name.lower(): value for name, value in received.headers.items()}
        return parse_retry_after(lowered.get("retry-after"), lowered.get("date"), self._clock.now())


def _send_token(token: str, request: requests.PreparedRequest) -> requests.PreparedRequest:
    request.headers["Authorization"] = f"Bearer {token}"
    return request


def network_error(error: Exception, bounds: CallBounds) -> AdwarmError:
    """Return the error for one that a library raised during a call within `bounds`."""
    if bounds.is_too_large:
        return bounds.too_large_error()
    cause = error.args[0] if error.args else None
    timeouts = requests.Timeout, TimeoutError, WireTimeout
    if bounds.is_late or isinstance(error, timeouts) or isinstance(cause, WireTimeout):
        if bounds.is_in_body:
            return Transient("Meta's response did not come to its end in time", code=SLOW_BODY)
        return Transient("Meta did not respond in time", code="timeout")
    if isinstance(error, _WRONG_ADDRESS):
        return BadRequest(
            "graph_url, or HTTPS_PROXY, is not a valid address; write it as https://host", code="graph_url"
        )
    return Transient(f"the connection to Meta failed ({type(error).__name__})", code="connection")


def _headers_of(items: Any) -> dict[str, str]:
    """Return the headers of one response in a batch; malformed ones are left out."""
    entries = [item for item in items if isinstance(item, dict)] if isinstance(items, list) else []
    pairs = [(item.get("name"), item.get("value")) for item in entries]
    return {name: value for name, value in pairs if isinstance(name, str) and isinstance(value, str)}
