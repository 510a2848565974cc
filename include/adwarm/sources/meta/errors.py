"""The platform's error codes as data, and what each asks of a caller.

The body's code decides, never the HTTP status alone. Messages keep code, subcode and trace id; tokens are cut out.
"""

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from enum import StrEnum
from typing import Any

from adwarm.errors import AdwarmError, BadRequest, Denied, NotFound, Throttled, TokenDead, TooMuchData, Transient
from adwarm.model import Scope, UsageSample


class Reaction(StrEnum):
    """What a good client does about an error."""

    RETRY = "retry"
    PARK_ACCOUNT = "park the account"
    PARK_APP = "park the app"
    PARK_TOKEN = "park the token"
    SHRINK = "ask for less"
    STOP_TOKEN = "stop the token"
    STOP_ACCOUNT = "stop the account"
    MISSING = "it is not there"
    FAIL = "fail"


_PARKING = frozenset({Reaction.PARK_ACCOUNT, Reaction.PARK_APP, Reaction.PARK_TOKEN})


@dataclass(frozen=True, slots=True)
class Rule:
    """One line of the code table.

    Attributes:
        seconds: how long to park when the platform names no time.
        seconds_full: the same for an app with full access, where that differs.
        firm: holds even when the platform calls the error transient.
        smaller_page: what shrinks may be the page alone.
        in_background: a report made in the background may manage what a call cannot.
    """

    reaction: Reaction
    seconds: float = 0.0
    seconds_full: float | None = None
    firm: bool = False
    smaller_page: bool = False
    in_background: bool = False


_RETRY, _SHRINK, _FAIL = Rule(Reaction.RETRY), Rule(Reaction.SHRINK), Rule(Reaction.FAIL)
_REDUCE = Rule(Reaction.SHRINK, smaller_page=True, in_background=True)
_TOO_SLOW = Rule(Reaction.SHRINK, in_background=True)
_FIRM_FAIL = Rule(Reaction.FAIL, firm=True)
_ACCOUNT = Rule(Reaction.PARK_ACCOUNT, 300.0)
_SCORE = Rule(Reaction.PARK_ACCOUNT, 300.0, seconds_full=60.0)
_ACCOUNT_SOON = Rule(Reaction.PARK_ACCOUNT, 60.0)
_APP = Rule(Reaction.PARK_APP, 300.0)
_TOKEN = Rule(Reaction.PARK_TOKEN, 300.0)
_DENIED = Rule(Reaction.STOP_ACCOUNT)

BY_SUBCODE: dict[tuple[int, int], Rule] = {
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
    (100, 33): Rule(Reaction.MISSING, firm=True),
    (2601, 1815107): _RETRY,
}
BY_WORDS: tuple[tuple[int, re.Pattern[str], Rule], ...] = (
    (1, re.compile(r"reduce the amount of data", re.IGNORECASE), _REDUCE),
    (100, re.compile(r"in summary param because they weren.t there", re.IGNORECASE), _RETRY),
)
BY_CODE: dict[int, Rule] = {
    **dict.fromkeys((80000, 80001, 80002, 80003, 80004, 80005, 80006, 80008, 80009, 80014, 32), _ACCOUNT),
    **dict.fromkeys((1, 2, 104, 960, 2601), _RETRY),
    **dict.fromkeys((102, 190), Rule(Reaction.STOP_TOKEN)),
    **dict.fromkeys((3, 10, *range(200, 300)), _DENIED),
    **dict.fromkeys((4, 341), _APP),
    17: _TOKEN,
    613: _ACCOUNT_SOON,
    368: Rule(Reaction.PARK_TOKEN, 3600.0),
    100: _FAIL,
    2635: _FIRM_FAIL,
    3018: _FIRM_FAIL,
}
_MAX_WORDS = 400
_TOKEN_LIKE = re.compile(r"EAA[A-Za-z0-9%]{12,}|(?<=access_token=)[^&\s\"']+|https?://\S+")


@dataclass(frozen=True, slots=True)
class Caller:
    """Whom an error is about: the scopes of the call, and the secrets that its message must not repeat.

    Attributes:
        full_access: whether the app has full access, which shortens some blocks.
    """

    account_id: str | None
    account: Scope | None
    app: Scope
    token: Scope
    secrets: tuple[str, ...] = field(default=(), repr=False)
    full_access: bool = False


def rule_for(code: int, subcode: int | None, words: str, status: int, *, transient: bool) -> Rule:
    """Return the line of the table for an error.

    Args:
        code: the body's `code`.
        subcode: the body's `error_subcode`.
        words: the body's message.
        status: HTTP status, which decides only about codes the table does not know.
        transient: whether the body says `is_transient`; its absence means nothing.
    """
    rule = BY_SUBCODE.get((code, subcode)) if subcode is not None else None
    if rule is None:
        rule = next((found for number, pattern, found in BY_WORDS if number == code and pattern.search(words)), None)
    if rule is None:
        rule = BY_CODE.get(code) or _by_status(status)
    return _RETRY if transient and rule.reaction is Reaction.FAIL and not rule.firm else rule


def error_of(
    body: Mapping[str, Any], status: int, caller: Caller, usage: Sequence[UsageSample], now: datetime
) -> AdwarmError:
    """Return the error that the body of an answer means; `body` is the value of its `error` key."""
    code, subcode = _integer(body.get("code")), _integer(body.get("error_subcode"))
    words = str(body.get("message", ""))
    rule = rule_for(code or 0, subcode, words, status, transient=body.get("is_transient") is True)
    message = describe(body, status, caller.secrets)
    number = str(code) if subcode is None else f"{code}/{subcode}"
    if rule.reaction in _PARKING:
        return _throttled(message, number, rule, caller, usage, now)
    return _plain(message, number, rule, caller)


def describe(body: Mapping[str, Any], status: int, secrets: Sequence[str]) -> str:
    """Return an error body in one line, with code, subcode and trace id, without secrets or addresses."""
    words = [str(body[name]) for name in ("message", "error_user_msg") if body.get(name)]
    facts = [f"HTTP {status}"]
    facts += [
        f"{label} {body[name]}"
        for label, name in (("code", "code"), ("subcode", "error_subcode"), ("trace", "fbtrace_id"))
        if body.get(name) is not None
    ]
    return (
        f"Meta: {clean(' / '.join(words), secrets)[:_MAX_WORDS] or 'no message'} ({clean(', '.join(facts), secrets)})"
    )


def clean(text: str, secrets: Sequence[str]) -> str:
    """Return `text` without the secrets, and without anything that looks like a token or an address."""
    for secret in secrets:
        if secret:
            text = text.replace(secret, "[hidden]")
    return _TOKEN_LIKE.sub("[hidden]", text)


def _plain(message: str, number: str, rule: Rule, caller: Caller) -> AdwarmError:
    reaction = rule.reaction
    if reaction is Reaction.RETRY:
        return Transient(message, code=number)
    if reaction is Reaction.SHRINK:
        return TooMuchData(message, code=number, smaller_page=rule.smaller_page, in_background=rule.in_background)
    if reaction is Reaction.MISSING:
        return NotFound(message, code=number)
    if reaction is Reaction.STOP_TOKEN:
        return TokenDead(f"{message}; renew the token in the connection", code=number)
    if reaction is Reaction.STOP_ACCOUNT and caller.account_id is not None:
        words = f"{message}; ask the owner of {caller.account_id} for access, or give the token the right ads_read"
        return Denied(words, account_id=caller.account_id, code=number)
    return BadRequest(message, code=number)


def _throttled(
    message: str, number: str, rule: Rule, caller: Caller, usage: Sequence[UsageSample], now: datetime
) -> Throttled:
    scope = {Reaction.PARK_APP: caller.app, Reaction.PARK_TOKEN: caller.token}.get(rule.reaction, caller.account)
    scope = scope or caller.token
    asked = [sample.regain_seconds for sample in usage if sample.scope == scope and sample.regain_seconds]
    usual = rule.seconds_full if caller.full_access and rule.seconds_full is not None else rule.seconds
    seconds = max(asked, default=usual)
    until = now + timedelta(seconds=seconds)
    return Throttled(message, scope=str(scope), until=until, retry_after=seconds, code=number)


def _by_status(status: int) -> Rule:
    if status == 429:
        return _ACCOUNT_SOON
    return _RETRY if status >= 500 else _FAIL


def _integer(value: Any) -> int | None:
    try:
        return None if value is None else int(value)
    except (TypeError, ValueError):
        return None
