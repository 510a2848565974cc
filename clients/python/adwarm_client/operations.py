"""The operations of the read API as steps, without any I/O. `Client` and `AsyncClient` carry them out."""

import math
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, replace
from datetime import date
from functools import partial
from hashlib import sha256
from typing import Any
from urllib.parse import quote, urlencode, urlsplit

import orjson

from adwarm_client import api_headers
from adwarm_client.errors import BadRequest, Transient
from adwarm_client.exchange import (
    ApiRequest,
    ApiResponse,
    Pause,
    Steps,
    Work,
    decode_body,
    decode_json,
    find_request_id,
    read_stored_window,
    to_error,
    to_not_ready,
)
from adwarm_client.keys import Priority, ReportKey, normalize_account_id
from adwarm_client.report_answer import ReportAnswer, make_answer
from adwarm_client.report_cache import ReportCache, StoredReport

_CODINGS = "zstd, br, gzip"
_MAX_SERVER_WAIT = 30
_MIN_PAUSE = 0.5
_DEFAULT_PAUSE = 2.0
_PAGE_SIZE = 1_000


@dataclass(frozen=True, slots=True)
class ReadOptions:
    """How a report is read.

    Attributes:
        wait_seconds: how long to wait for a missing or old report in all.
        request_id: the request that an earlier `NotReady` named.
    """

    priority: Priority
    wait_seconds: float
    request_id: int | None = None
    allow_partial: bool = False


@dataclass(frozen=True, slots=True)
class Operations:
    """The operations of one client.

    Attributes:
        base_url: URL of the API without a slash at its end.
        cache: reports on disk; None keeps nothing.
        actor: who opens the reports; sent when it is named.
    """

    base_url: str
    cache: ReportCache | None
    actor: str | None = None

    def read_report(self, key: ReportKey, options: ReadOptions) -> Steps[ReportAnswer]:
        """Read a report; a 202 is followed until the wait is over.

        Raises:
            NotReady: the report is not stored yet.
            Corrupt: the answer is damaged.
            AdwarmError: the API refused the request; the class says why.
        """
        target = _report_target(key)
        stored: StoredReport | None = None
        if self.cache is not None:
            stored = yield Work(partial(self.cache.load, target))
        request_id, waited = options.request_id, 0.0
        while True:
            left = max(0.0, options.wait_seconds - waited)
            rest = replace(options, wait_seconds=left, request_id=request_id)
            response: ApiResponse = yield self._report_request(target, stored, rest)
            waited += response.seconds
            if response.status == 202:
                request_id = find_request_id(response) or request_id
                pause = _DEFAULT_PAUSE if response.retry_after is None else response.retry_after
                if waited + pause > options.wait_seconds:
                    raise to_not_ready(key, response, pause, request_id)
                pause = max(_MIN_PAUSE, pause)
                yield Pause(pause)
                waited += pause
                continue
            if response.status == 304 and stored is not None:
                return make_answer(key, response, stored.document, stored.content_type)
            if response.status != 200:
                raise (
                    to_not_ready(key, response)
                    if read_stored_window(response)
                    else _unexpected(response, key.account_id)
                )
            document = yield Work(partial(decode_body, response))
            content_type = response.headers.get("content-type", "")
            answer = make_answer(key, response, document, content_type)
            if self.cache is not None and answer.etag:
                yield Work(partial(self.cache.save, target, StoredReport(answer.etag, content_type, document)))
            return answer

    def list_scores(self, account: str, as_of: date | None, ad_id: str | None) -> Steps[list[dict[str, Any]]]:
        """Read all pages of an account's scores.

        Raises:
            AdwarmError: the API refused the request; the class says why.
        """
        account_id = normalize_account_id(account)
        query = {"limit": str(_PAGE_SIZE)}
        if as_of is not None:
            query["as_of"] = as_of.isoformat()
        if ad_id is not None:
            query["ad_id"] = ad_id
        scores: list[dict[str, Any]] = []
        while True:
            page = yield from self.get_json(f"/v1/scores/{quote(account_id)}?{urlencode(query)}", account_id)
            scores += page["scores"]
            cursor = page.get("next_cursor")
            if not cursor or cursor == query.get("cursor"):
                return scores
            query["cursor"] = cursor

    def list_score_changes(self, account: str, since: date | None, as_of: date | None) -> Steps[dict[str, Any]]:
        """Read what changed in an account's scores.

        Raises:
            AdwarmError: the API refused the request; the class says why.
        """
        return (yield from self._read_scores(account, "changes", {"since": since, "as_of": as_of}))

    def get_score_summary(self, account: str, as_of: date | None) -> Steps[dict[str, Any]]:
        """Read the summary of an account's scores.

        Raises:
            AdwarmError: the API refused the request; the class says why.
        """
        return (yield from self._read_scores(account, "summary", {"as_of": as_of}))

    def _read_scores(self, account: str, name: str, days: dict[str, date | None]) -> Steps[dict[str, Any]]:
        account_id = normalize_account_id(account)
        query = urlencode({key: day.isoformat() for key, day in days.items() if day is not None})
        document: dict[str, Any] = yield from self.get_json(
            f"/v1/scores/{quote(account_id)}/{name}{query and f'?{query}'}", account_id
        )
        return document

    def get_json(self, target: str, account_id: str = "") -> Steps[Any]:
        """Read a JSON document.

        Raises:
            AdwarmError: the API refused the request; the class says why.
        """
        response: ApiResponse = yield ApiRequest("GET", target, self._headers())
        return (yield from _read_json(response, account_id))

    def enqueue(self, key: ReportKey, priority: Priority) -> Steps[dict[str, Any]]:
        """Request a report without waiting for it.

        Raises:
            AdwarmError: the API refused the request; the class says why.
        """
        body = {**_key_fields(key), "priority": priority.name.lower()}
        answer: dict[str, Any] = yield from self._post("/v1/requests", body, key.account_id)
        return answer

    def read_batch(
        self, keys: Iterable[ReportKey], priority: Priority, *, allow_partial: bool = False
    ) -> Steps[list[dict[str, Any]]]:
        """Read what is stored for several keys; `allow_partial` also entries of other days.

        Raises:
            AdwarmError: the API refused the request; the class says why.
        """
        body = {"items": [_key_fields(key) for key in keys], "priority": priority.name.lower()}
        answer = yield from self._post("/v1/batch", body, further=_prefer(0, allow_partial=allow_partial))
        items: list[dict[str, Any]] = answer["items"]
        return items

    def _post(
        self, target: str, body: dict[str, Any], account_id: str = "", further: Mapping[str, str] | None = None
    ) -> Steps[Any]:
        headers = {**self._headers(), **(further or {}), "Content-Type": "application/json"}
        response: ApiResponse = yield ApiRequest("POST", target, headers, orjson.dumps(body))
        return (yield from _read_json(response, account_id))

    def _report_request(self, target: str, stored: StoredReport | None, options: ReadOptions) -> ApiRequest:
        server_wait = min(_MAX_SERVER_WAIT, math.floor(options.wait_seconds))
        headers = {**self._headers(), **_prefer(server_wait, allow_partial=options.allow_partial)}
        headers[api_headers.PRIORITY] = options.priority.name.lower()
        if options.request_id is not None:
            headers[api_headers.REQUEST] = str(options.request_id)
        if stored is not None:
            headers["If-None-Match"] = stored.etag
        return ApiRequest("GET", target, headers, wait_seconds=server_wait)

    def _headers(self) -> dict[str, str]:
        headers = {"Accept-Encoding": _CODINGS}
        if self.actor is not None:
            headers[api_headers.ACTOR] = self.actor
        return headers


def check_base_url(url: str) -> str:
    """Return the base URL of an API without a slash at its end.

    Raises:
        BadRequest: it is not an http or https URL, or it contains credentials or a query.
    """
    try:
        parts = urlsplit(url.strip())
        is_plain = parts.username is None and parts.password is None and not parts.query and not parts.fragment
        is_valid = parts.scheme in {"http", "https"} and bool(parts.hostname) and parts.port != 0 and is_plain
    except ValueError:
        is_valid = False
    if not is_valid:
        raise BadRequest("the base URL is not valid; write https://host, without credentials or a query")
    return url.strip().rstrip("/")


def find_token_id(token: str) -> str:
    """Return the public id of a token `adwarm_<id>_<secret>`; of any other text its first 8 hex digits of SHA-256.

    Raises:
        BadRequest: the token is empty, or contains characters that no header may hold.
    """
    if not token or not token.isascii() or not token.isprintable() or " " in token:
        raise BadRequest("the token is not valid; copy it as `adwarm token create` printed it")
    parts = token.split("_", 2)
    return parts[1] if len(parts) == 3 and parts[0] == "adwarm" else sha256(token.encode()).hexdigest()[:8]


def _read_json(response: ApiResponse, account_id: str) -> Steps[Any]:
    if response.status not in {200, 202}:
        raise _unexpected(response, account_id)
    return (yield Work(partial(decode_json, response)))


def _unexpected(response: ApiResponse, account_id: str) -> Exception:
    if response.status < 400:
        return Transient(f"the server answered HTTP {response.status}; check that the base URL is that of adwarm's API")
    return to_error(response, account_id)


def _prefer(wait_seconds: int, *, allow_partial: bool) -> dict[str, str]:
    """Return the header `Prefer`, if there is anything to prefer."""
    tokens = [f"wait={wait_seconds}"] * (wait_seconds > 0) + [api_headers.ALLOW_PARTIAL] * allow_partial
    return {"Prefer": ", ".join(tokens)} if tokens else {}


def _report_target(key: ReportKey) -> str:
    path = f"/v1/insights/{quote(key.account_id, safe='')}/{quote(key.date_range, safe='')}"
    return path if key.report == "default" else f"{path}?{urlencode({'report': key.report})}"


def _key_fields(key: ReportKey) -> dict[str, str]:
    return {"account": key.account_id, "range": key.date_range, "report": key.report}
