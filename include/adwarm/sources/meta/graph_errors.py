"""The platform's error codes as a table, and the error that each becomes.

The code in the body decides, not the HTTP status alone. Messages keep code, subcode and trace id, but no tokens.
"""

import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from adwarm.foundation.errors import (
    AdwarmError,
    BadRequest,
    Blocked,
    Denied,
    FieldRefused,
    NotFound,
    Throttled,
    TokenDead,
    TooMuchData,
    Transient,
    VersionEnded,
)
from adwarm.foundation.redaction import redact
from adwarm.model import Scope, UsageSample
from adwarm.sources.meta.response_headers import MAX_WAIT_SECONDS


class ErrorAction(StrEnum):
    """What the client does about an error."""

    RETRY = "retry"
    PARK_ACCOUNT = "park the account"
    PARK_APP = "park the app"
    PARK_TOKEN = "park the token"
    SHRINK = "ask for less"
    STOP_TOKEN = "stop the token"
    STOP_ACCOUNT = "stop the account"
    STOP_VERSION = "stop the version"
    MISSING = "it is not there"
    FAIL = "fail"


_PARKING = frozenset({ErrorAction.PARK_ACCOUNT, ErrorAction.PARK_APP, ErrorAction.PARK_TOKEN})


@dataclass(frozen=True, slots=True)
class ErrorRule:
    """One line of the code table.

    Attributes:
        park_seconds: how long to park when the platform names no time.
        park_seconds_full_access: the same for an app with full access, where that differs.
        ignores_transient_flag: applies even when the platform calls the error transient.
        smaller_page: a smaller page may be enough to shrink the request.
        in_background: an async report may succeed where a call fails.
        needs_human: the parked scope stays unusable until a human fixes the cause.
    """

    reaction: ErrorAction
    park_seconds: float = 0.0
    park_seconds_full_access: float | None = None
    ignores_transient_flag: bool = False
    smaller_page: bool = False
    in_background: bool = False
    needs_human: bool = False


_RETRY, _SHRINK, _FAIL = ErrorRule(ErrorAction.RETRY), ErrorRule(ErrorAction.SHRINK), ErrorRule(ErrorAction.FAIL)
_REDUCE = ErrorRule(ErrorAction.SHRINK, smaller_page=True, in_background=True)
_TOO_SLOW = ErrorRule(ErrorAction.SHRINK, in_background=True)
_FIRM_FAIL = ErrorRule(ErrorAction.FAIL, ignores_transient_flag=True)
_ACCOUNT = ErrorRule(ErrorAction.PARK_ACCOUNT, 300.0)
_SCORE = ErrorRule(ErrorAction.PARK_ACCOUNT, 300.0, park_seconds_full_access=60.0)
_ACCOUNT_SOON = ErrorRule(ErrorAction.PARK_ACCOUNT, 60.0)
_APP = ErrorRule(ErrorAction.PARK_APP, 300.0)
_TOKEN = ErrorRule(ErrorAction.PARK_TOKEN, 300.0)
_DENIED = ErrorRule(ErrorAction.STOP_ACCOUNT)
_DEAD = ErrorRule(ErrorAction.STOP_TOKEN)
_MISSING = ErrorRule(ErrorAction.MISSING)
_INCAPABLE = ErrorRule(ErrorAction.PARK_APP, 3600.0, needs_human=True)

BY_SUBCODE: dict[tuple[int, int], ErrorRule] = {
    (17, 2446079): _SCORE,
    (613, 1487742): _SCORE,
    (4, 1504022): _ACCOUNT_SOON,
    (4, 1504039): _ACCOUNT_SOON,
    (100, 1487534): _SHRINK,
    (100, 1504018): _TOO_SLOW,
    (2, 1504038): _TOO_SLOW,
    (-3, 1504045): _SHRINK,
    (2, 1504043): _RETRY,
    (2, 1504044): _RETRY,
    (-2, 2490547): _RETRY,
    (2, 1504041): _FIRM_FAIL,
    (2, 1504042): _FIRM_FAIL,
    (100, 3191001): _FIRM_FAIL,
    (100, 33): _MISSING,
    (1, 2853001): _FAIL,
    (2601, 1815107): _RETRY,
}
BY_MESSAGE: tuple[tuple[int, re.Pattern[str], ErrorRule], ...] = (
    (1, re.compile(r"reduce the amount of data", re.IGNORECASE), _REDUCE),
    (100, re.compile(r"in summary param because they weren.t there", re.IGNORECASE), _RETRY),
    (100, re.compile(r"^\W*(\(#100\)\W*)?missing perm", re.IGNORECASE), _DENIED),
    (100, re.compile(r"object does not exist, cannot be loaded due to missing permission", re.IGNORECASE), _DENIED),
    (100, re.compile(r"object with id .{1,80}(does not exist|missing permission)", re.IGNORECASE), _MISSING),
    (100, re.compile(r"appsecret_proof", re.IGNORECASE), _DEAD),
    (104, re.compile(r"signature|appsecret|access token|session", re.IGNORECASE), _DEAD),
    (3, re.compile(r"must be on (the )?whitelist", re.IGNORECASE), _FAIL),  # of one field, not of the app
    (2500, re.compile(r"access token|session", re.IGNORECASE), _DEAD),
)
BY_CODE: dict[int, ErrorRule] = {
    **dict.fromkeys((80000, 80001, 80002, 80003, 80004, 80005, 80006, 80008, 80009, 80014, 32), _ACCOUNT),
    **dict.fromkeys((1, 2, 104, 960, 2601), _RETRY),
    **dict.fromkeys((102, 190), _DEAD),
    **dict.fromkeys((10, *range(200, 300)), _DENIED),
    275: _FAIL,  # the target of a post is unknown: no permission, though the number lies among theirs
    3: _INCAPABLE,
    **dict.fromkeys((4, 341), _APP),
    17: _TOKEN,
    613: _ACCOUNT_SOON,
    368: ErrorRule(ErrorAction.PARK_TOKEN, 3600.0, needs_human=True),
    100: _FAIL,
    2635: ErrorRule(ErrorAction.STOP_VERSION, ignores_transient_flag=True),
    3018: _FIRM_FAIL,
}
_REFUSED_FIELDS = (
    re.compile(r"(?<![\w, ])([\w, ]+?) (?:is|are) not valid for fields param"),
    re.compile(r"nonexisting field \((\w+)\)"),
    re.compile(r"\b(\w+) field is deprecated"),
    re.compile(r"[Ff]ields? ([\w, ]+?) (?:is|are) (?:not supported|deprecated|no longer)"),
    re.compile(r"permissions? to access the fields? ([\w, ]+)"),
)
"""How an error names the fields that it is about."""
_MAX_MESSAGE = 400
_MAX_FIELD = 4_000
_MAX_CODE = 10**9


@dataclass(frozen=True, slots=True)
class CallContext:
    """The call that an error concerns: its scopes, and the secrets that the message must not repeat.

    Attributes:
        full_access: whether the app has full access, which shortens some parks.
        is_account_node: whether the call's path is the account itself, so a missing object is the account; the platform
            also says so of an account that the token may not see.
    """

    account_id: str | None
    account: Scope | None
    app: Scope
    token: Scope
    secrets: tuple[str, ...] = field(default=(), repr=False)
    full_access: bool = False
    is_account_node: bool = False


def find_rule(code: int, subcode: int | None, text: str, status: int, *, transient: bool) -> ErrorRule:
    """Return the rule for an error.

    Args:
        status: HTTP status, which decides only for codes that the table does not know.
        transient: whether the body says `is_transient`; when absent, it means nothing.
    """
    rule = BY_SUBCODE.get((code, subcode)) if subcode is not None else None
    if rule is None:
        rule = next((item for number, pattern, item in BY_MESSAGE if number == code and pattern.search(text)), None)
    if rule is None:
        rule = BY_CODE.get(code) or _by_status(status)
    return _RETRY if transient and rule.reaction is ErrorAction.FAIL and not rule.ignores_transient_flag else rule


def parse_error(
    body: Mapping[str, Any],
    status: int,
    caller: CallContext,
    usage: Sequence[UsageSample],
    now: datetime,
    retry_after: float | None = None,
) -> AdwarmError:
    """Return the error for the `error` object of a response body.

    Args:
        body: `code`, `error_subcode`, `message` and the like, of any types.
        now: the time relative to which parking times are stated.
    """
    code, subcode = _integer(body.get("code")), _integer(body.get("error_subcode"))
    text = _text(body.get("message"))
    rule = find_rule(code or 0, subcode, text, status, transient=body.get("is_transient") is True)
    message = describe_error(body, status, caller.secrets)
    number = str(code) if subcode is None else f"{code}/{subcode}"
    if rule.reaction in _PARKING:
        scope = _parked_scope(rule, caller)
        requested = [sample.regain_seconds for sample in usage if sample.scope == scope and sample.regain_seconds]
        requested += [retry_after] if retry_after else []
        return _throttled(message, number, rule, caller=caller, requested=requested, now=now)
    return _unparked_error(message, number, rule, caller, retry_after)


@contextmanager
def naming_refused_fields(fields: Collection[str]) -> Iterator[None]:
    """Raise an error of the block as `name_refused_fields` returns it."""
    try:
        yield
    except (BadRequest, Denied) as error:
        raise name_refused_fields(error, fields) from None


def name_refused_fields(error: AdwarmError, fields: Collection[str]) -> AdwarmError:
    """Return an error that refuses some of the requested `fields` by name as `FieldRefused`, any other as it is."""
    texts = [match[1] for pattern in _REFUSED_FIELDS for match in pattern.finditer(str(error))]
    names = {name for text in texts for name in re.findall(r"\w+", text)}
    refused = [name for name in fields if name in names] if isinstance(error, BadRequest | Denied) else []
    return FieldRefused(str(error)[:_MAX_MESSAGE], fields=refused, code=error.code) if refused else error


def too_many_requests(caller: CallContext, now: datetime, retry_after: float | None) -> Throttled:
    """Return the error of an HTTP 429 response without an error body."""
    message = "Meta responded with HTTP 429 and no error of its own"
    return _throttled(
        message, "http_429", _ACCOUNT_SOON, caller=caller, requested=[retry_after] if retry_after else [], now=now
    )


def describe_error(body: Mapping[str, Any], status: int, secrets: Sequence[str]) -> str:
    """Return an error body as one line with code, subcode and trace id, without secrets or URLs.

    A text that refuses fields is not cut, so that the long list of a retired version is read to its end.
    """
    texts = [_text(body[name]) for name in ("message", "error_user_msg") if body.get(name)]
    is_whole = any(pattern.search(text) for pattern in _REFUSED_FIELDS for text in texts)
    facts = [f"HTTP {status}"]
    facts += [
        f"{label} {_text(body[name])[:80]}"
        for label, name in (("code", "code"), ("subcode", "error_subcode"), ("trace", "fbtrace_id"))
        if body.get(name) is not None
    ]
    message = redact(" / ".join(texts), secrets, hide_urls=True)[: None if is_whole else _MAX_MESSAGE]
    return f"Meta: {message or 'no message'} ({redact(', '.join(facts), secrets, hide_urls=True)})"


def _unparked_error(
    message: str, number: str, rule: ErrorRule, caller: CallContext, retry_after: float | None
) -> AdwarmError:
    reaction = rule.reaction
    if reaction is ErrorAction.RETRY:
        return Transient(message, code=number, retry_after=retry_after)
    if reaction is ErrorAction.SHRINK:
        return TooMuchData(message, code=number, smaller_page=rule.smaller_page, in_background=rule.in_background)
    if reaction is ErrorAction.STOP_TOKEN:
        return TokenDead(f"{message}; renew the token in the connection", code=number)
    if reaction is ErrorAction.MISSING and not caller.is_account_node:
        return NotFound(message, code=number)
    if reaction in {ErrorAction.STOP_ACCOUNT, ErrorAction.MISSING} and caller.account_id is not None:
        message = f"{message}; ask the owner of {caller.account_id} for access, or give the token the right ads_read"
        return Denied(message, account_id=caller.account_id, code=number)
    if reaction is ErrorAction.STOP_VERSION:
        return VersionEnded(f"{message}; set a newer api_version in the connection", code=number)
    return BadRequest(message, code=number)


def _parked_scope(rule: ErrorRule, caller: CallContext) -> Scope:
    scope = {ErrorAction.PARK_APP: caller.app, ErrorAction.PARK_TOKEN: caller.token}.get(rule.reaction, caller.account)
    return scope or caller.token


def _throttled(
    message: str, number: str, rule: ErrorRule, caller: CallContext, requested: Sequence[float], now: datetime
) -> Throttled:
    """Return the error that parks a scope for the longest `requested` seconds, else for the rule's."""
    default = rule.park_seconds
    if caller.full_access and rule.park_seconds_full_access is not None:
        default = rule.park_seconds_full_access
    scope, seconds = _parked_scope(rule, caller), min(MAX_WAIT_SECONDS, max(requested, default=default))
    until = now + timedelta(seconds=seconds)
    if rule.needs_human:
        message = f"{message}; the {scope.kind} is parked until it is put right in the platform's own settings"
        return Blocked(message, scope=str(scope), until=until, retry_after=seconds, code=number)
    return Throttled(message, scope=str(scope), until=until, retry_after=seconds, code=number)


def _by_status(status: int) -> ErrorRule:
    if status == 429:
        return _ACCOUNT_SOON
    return _RETRY if status >= 500 else _FAIL


def _integer(value: Any) -> int | None:
    """Return a code as a number; None for anything that cannot be a code of the platform."""
    if isinstance(value, str) and len(value) > len(str(_MAX_CODE)) + 1:
        return None
    try:
        number = None if value is None else int(value)
    except (TypeError, ValueError, OverflowError):
        return None
    return number if number is not None and abs(number) <= _MAX_CODE else None


def _text(value: Any) -> str:
    """Return a field of an error body as bounded text; empty for other types, which may be nested without end."""
    if isinstance(value, str):
        return value[:_MAX_FIELD]
    return str(value) if isinstance(value, int | float) else ""
