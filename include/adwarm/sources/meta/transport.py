"""One guarded call to the Graph API: what comes back is a decoded object or an error of `adwarm.errors`.

facebook-business carries the call (session, signature, version, address); everything it leaves open is closed here: the
token travels in the `Authorization` header only, every call has timeouts, the size of an answer is bounded while it
is read, and status, content type and body are judged before the SDK sees them. No error repeats a token or an address.
"""

import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any
from urllib.parse import quote, urlsplit

import orjson
import requests
from facebook_business.api import FacebookAdsApi
from facebook_business.session import FacebookSession
from requests.auth import AuthBase
from urllib3.exceptions import ReadTimeoutError

from adwarm.clock import Clock
from adwarm.errors import AdwarmError, BadRequest, TooMuchData, Transient
from adwarm.model import Scope, ScopeKind, UsageSample
from adwarm.settings import SourceSettings
from adwarm.sources.meta.credentials import MetaCredentials
from adwarm.sources.meta.errors import Caller, error_of
from adwarm.sources.meta.usage import usage_samples

_JSON_TYPES = frozenset({"application/json", "text/javascript", "application/javascript"})
_CHUNK = 65_536


@dataclass(frozen=True, slots=True)
class Answer:
    """A decoded answer and what its headers said about quotas."""

    body: dict[str, Any]
    usage: tuple[UsageSample, ...]


@dataclass(frozen=True, slots=True)
class Entry:
    """One GET of a batch: its path and query below the version, and the account it is about."""

    relative_url: str
    account_id: str


@dataclass(frozen=True, slots=True)
class _Received:
    status: int
    content_type: str
    headers: Mapping[str, str]
    content: bytes


class _Bearer(AuthBase):
    """Puts the token in the header; unlike a session header it also wins over a stray .netrc file."""

    def __init__(self, token: str) -> None:
        self._token = token

    def __call__(self, request: requests.PreparedRequest) -> requests.PreparedRequest:
        request.headers["Authorization"] = f"Bearer {self._token}"
        return request


class GraphTransport:
    """Calls the Graph API with one token. Used by one thread at a time; keeps its connection open between calls."""

    def __init__(self, credentials: MetaCredentials, settings: SourceSettings, clock: Clock) -> None:
        self._credentials = credentials
        self._clock = clock
        self._max_bytes = settings.max_response_bytes
        self._full_access = settings.access_tier == "standard_access"
        self._received: _Received | None = None
        session = _session(credentials, settings)
        session.requests.hooks["response"].append(self._receive)
        self._version = settings.api_version
        self._api = FacebookAdsApi(session, api_version=settings.api_version)

    def get(self, path: tuple[str, ...], params: Mapping[str, Any], account_id: str | None = None) -> Answer:
        """Return the answer to a GET of `path` below the version.

        Args:
            path: the parts of the path.
            params: query parameters; lists and dicts are sent as JSON.
            account_id: the account that the call is about, for errors and usage.

        Raises:
            Transient, Throttled, TooMuchData, Denied, TokenDead, BadRequest: as the answer says.
        """
        return self._judge(self._call("GET", path, params), account_id)

    def post(self, path: tuple[str, ...], params: Mapping[str, Any], account_id: str | None = None) -> Answer:
        """Return the answer to a POST of `params` as a form; otherwise as `get`."""
        return self._judge(self._call("POST", path, params), account_id)

    def batch(self, entries: Sequence[Entry]) -> list[Answer | AdwarmError]:
        """Make up to 50 GETs in one request and return the answer to each, in order, or its own error.

        Raises:
            Transient, Throttled, TokenDead, BadRequest: the batch as a whole failed.
        """
        wanted = [{"method": "GET", "relative_url": f"{self._version}/{entry.relative_url}"} for entry in entries]
        received = self._call("POST", (), {"batch": wanted, "include_headers": "true"})
        answers = _decoded(received)
        if not isinstance(answers, list):
            self._judge(received, None)
        if not isinstance(answers, list) or len(answers) != len(entries):
            raise Transient("Meta's answer to a batch has not one answer for each of its calls", code="batch")
        return [self._judge_entry(answer, entry) for answer, entry in zip(answers, entries, strict=True)]

    def _call(self, method: str, path: tuple[str, ...], params: Mapping[str, Any]) -> _Received:
        self._received = None
        failure: AdwarmError | None = None
        try:
            self._api.call(method, path, params=dict(params))
        except requests.RequestException as error:
            failure = _unreachable(error)
        if failure is not None:  # raised here, outside the handler: the original's text holds the address
            raise failure
        if self._received is None:
            raise Transient("Meta sent no answer", code="no_answer")
        return self._received

    def caller(self, account_id: str | None) -> Caller:
        """Return the scopes that a call about `account_id` draws on."""
        credentials = self._credentials
        token = credentials.access_token.get_secret_value()
        secret = credentials.app_secret.get_secret_value() if credentials.app_secret else ""
        return Caller(
            account_id=account_id,
            account=Scope(ScopeKind.ACCOUNT, account_id) if account_id else None,
            app=credentials.app_scope,
            token=credentials.token_scope,
            secrets=(token, quote(token, safe=""), secret),
            full_access=self._full_access,
        )

    def _receive(self, response: requests.Response, **_: Any) -> requests.Response:
        """Take the answer, bounded, and leave the SDK an empty one: it would parse every row a second time."""
        content = bytearray()
        for chunk in response.iter_content(_CHUNK):
            content += chunk
            if len(content) > self._max_bytes:
                response.close()
                words = f"Meta's answer is larger than {self._max_bytes} bytes; ask for fewer days or fields"
                raise TooMuchData(words, code="too_large", smaller_page=True)
        kind = response.headers.get("Content-Type", "").partition(";")[0].strip().lower()
        self._received = _Received(response.status_code, kind, response.headers, bytes(content))
        taken = requests.Response()
        taken.status_code, taken.request, taken.url, taken.encoding = 200, response.request, response.url, "utf-8"
        taken.raw = response.raw
        return taken

    def _judge(self, received: _Received, account_id: str | None) -> Answer:
        caller = self.caller(account_id)
        usage = usage_samples(received.headers, caller.account, caller.app)
        body = _decoded(received)
        if not isinstance(body, dict):
            raise _not_an_object(received.status)
        if "error" in body:
            error = body["error"] if isinstance(body["error"], dict) else {"message": str(body["error"])}
            raise error_of(error, received.status, caller, usage, self._clock.now())
        if received.status != 200:
            raise _odd_status(received.status)
        return Answer(body, usage)

    def _judge_entry(self, answer: Any, entry: Entry) -> Answer | AdwarmError:
        if not isinstance(answer, dict):  # null: the platform ran out of time before this call
            return Transient("Meta did not get to this call of a batch", code="not_reached")
        headers = {str(item["name"]): str(item["value"]) for item in answer.get("headers") or ()}
        content = str(answer.get("body") or "").encode()
        try:
            return self._judge(_Received(int(answer.get("code", 0)), "application/json", headers, content),
                               entry.account_id)  # fmt: skip
        except AdwarmError as error:
            return error


def _session(credentials: MetaCredentials, settings: SourceSettings) -> Any:
    token = credentials.access_token.get_secret_value()
    secret = credentials.app_secret.get_secret_value() if credentials.app_secret else None
    timeouts = (settings.connect_timeout, settings.read_timeout)
    session = FacebookSession(credentials.app_id, secret, token, timeout=timeouts)
    session.access_token = session.app_secret = None
    session.GRAPH = settings.graph_url.rstrip("/")
    http = session.requests
    http.params.pop("access_token")
    http.auth = _Bearer(token)
    http.stream = True
    host = urlsplit(session.GRAPH).hostname or ""
    if not host.endswith("facebook.com"):
        http.verify = True  # the SDK's own bundle knows Meta's certificates only
    if _is_loopback(host):
        http.trust_env = False  # a proxy cannot reach this machine's loopback
    return session


def _is_loopback(host: str) -> bool:
    try:
        return host == "localhost" or ipaddress.ip_address(host).is_loopback
    except ValueError:
        return False


def _unreachable(error: requests.RequestException) -> AdwarmError:
    cause = error.args[0] if error.args else None
    if isinstance(error, requests.Timeout) or isinstance(cause, ReadTimeoutError):
        return Transient("Meta did not answer in time", code="timeout")
    if isinstance(error, requests.URLRequired | requests.exceptions.InvalidURL | requests.exceptions.MissingSchema):
        return BadRequest("graph_url is not a valid address; write it as https://host", code="graph_url")
    return Transient(f"the connection to Meta failed ({type(error).__name__})", code="connection")


def _odd_status(status: int) -> AdwarmError:
    if status >= 500 or status in {408, 425, 429}:
        return Transient(f"Meta answered with HTTP {status} and no error of its own", code=f"http_{status}")
    return BadRequest(f"HTTP {status} is not an answer of the Graph API; check graph_url", code=f"http_{status}")


def _decoded(received: _Received) -> Any:
    """Return the body of an answer, whatever JSON it is."""
    if received.content_type not in _JSON_TYPES:
        if received.status == 200:
            raise Transient(f"Meta answered with {received.content_type or 'no content type'}", code="not_json")
        raise _odd_status(received.status)
    try:
        return orjson.loads(received.content)
    except orjson.JSONDecodeError:  # cut short, whatever the status was
        raise Transient("Meta's answer is not complete JSON", code="not_json") from None


def _not_an_object(status: int) -> AdwarmError:
    if status >= 400:
        return _odd_status(status)
    return Transient("Meta's answer is not a complete JSON object", code="not_json")
