"""Removes secrets from text before it is recorded, logged or sent.

Two things are hidden: the secrets that this process knows (`known_secrets`), in every encoding, and what looks like a
credential. When in doubt it hides, but ordinary sentences stay: after "access token: ", a word that others follow is
prose, and three dots stand for a credential as in adwarm's own messages. It never fails, and the length of the result
is bounded.
"""

import base64
import logging
import re
import traceback
from collections.abc import Callable, Iterable

from adwarm_client.known_secrets import REGISTRY, hide_secrets

HIDDEN = "[hidden]"
MAX_CHARACTERS = 2_000
_LONGEST_SEARCHED = 65_536
_LONGEST_ENCODED_SECRET = 16_384

_NAMES = (
    r"token|appsecret_proof|secret|password|passwd|passphrase|pwd|api[_-]?key|secret[_-]?access[_-]?key|secret[_-]?key"
    r"|account[_-]?key|private[_-]?key|x-amz-(?:signature|credential|security-token)|signature|sig|cookie"
)
# `name=`, `name: `, `"name": `, `\"name\":`, `name%3D`, and the pair `('name', ` of a list of headers.
_ASSIGN = r"(?P<sign>\\*[\"']?\s*(?:=|:|%3D)\s*|[\"']\s*,\s*b?(?=[\"']))"
_QUOTED = r"\\+\"[^\"\r\n]*(?:\\\"|$)|\"(?:[^\"\\\r\n]|\\.)*(?:\"|$)|b?'(?:[^'\\\r\n]|\\.)*(?:'|$)"
# What is hidden as a whole already stays; a value that was hidden in part is hidden whole.
_HIDDEN_BEFORE = r"(?!\[hidden\](?:[\s&,;\"'<>)}\]]|$))"
_VALUE = rf"{_HIDDEN_BEFORE}(?P<value>{_QUOTED}|(?:\[hidden\]|[^\s&,;\"'<>)}}\]])+)"

_ASSIGNED = re.compile(rf"(?<![A-Za-z])(?:{_NAMES}){_ASSIGN}{_VALUE}", re.IGNORECASE)
_COOKIES = re.compile(
    rf"(?<![A-Za-z-])(?:set-)?cookie2?{_ASSIGN}(?!\[hidden\](?:[,)}}\]\r\n]|$))(?P<value>{_QUOTED}|(?=[^\r\n]*=)[^\r\n\"'][^\r\n]*)",
    re.IGNORECASE,
)
_ONE_VALUE = "bearer|basic|oauth|token|negotiate|ntlm|apikey"
_AUTHORIZATION = re.compile(
    rf"(?<![A-Za-z])authorization{_ASSIGN}(?P<open>\\*b?[\"'])?"
    rf"(?!(?:(?:{_ONE_VALUE})\s+)?\[hidden\])(?:(?P<scheme>{_ONE_VALUE})\s+)?"
    r"(?P<value>(?:digest|hawk|aws4-hmac-sha256)\s[^\r\n]+|[^\s\"',;<>)}\]\\]+)",
    re.IGNORECASE,
)
# Without the header's name: "Basic authentication failed" is prose, "Basic dTpw" is not.
_SCHEMES = re.compile(
    r"\b(?:(?:bearer|basic|oauth)\s+(?!realm=)(?=\S*[\d=])[A-Za-z0-9._~+/|=-]{6,}|bearer\s+(?=\S*\w\.\w)[A-Za-z0-9._~+/|=-]{6,}"
    r"|(?:bearer|basic)\s+[A-Za-z0-9._~+/|=-]{20,})",
    re.IGNORECASE,
)
_BASIC = re.compile(r"\bbasic\s+(?P<value>[A-Za-z0-9+/_-]{4,}={0,2})", re.IGNORECASE)
# The password ends at the last @ before a slash; with a slash in the password, at the first @.
_URL_PASSWORD = re.compile(
    r"(://[^/\s:@\"'<>]*:)(?!\.{3}@)(?:[^\s/\"'<>]+(?=@)|(?!\d{1,5}(?:[/?#\s]|$))[^\s@\"'<>]+(?=@))"
)
_TOKENS = re.compile(
    r"\badwarm_[a-z0-9]{12}_[A-Za-z0-9_-]{20,}|(?:EAA|\bEA[B-Z])[A-Za-z0-9%]{12,}"
    r"|\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?|\b\d{8,}\|[A-Za-z0-9_-]{16,}"
)
_URL = re.compile(r"https?://\S+")
_URLSAFE = str.maketrans("+/", "-_")

_WORD = re.compile(
    r"(?:[^\W\d_]?[^\W\d_A-Z]{0,15}(?:['’-][^\W\d_A-Z]{1,15})*|[A-Z]{1,6}|OAuth|(?:[A-Z][a-z]+){2,3}|\d{1,3})[.!?:]*|[(#].*"
)
_NEXT_WORD = re.compile(r"\s+[\w(\"'“`\[]")
_STATES = re.compile(
    "none|null|true|false|missing|invalid|expired|revoked|required|empty|unset|wrong|denied|unknown|malformed",
    re.IGNORECASE,
)
_PLACEHOLDER = re.compile(r"[\\\"'`]*(?:adwarm_)?\.{3}[\\\"'`.,;:]*")
_SCHEME = re.compile(_ONE_VALUE, re.IGNORECASE)
_SCHEME_WORDS = re.compile("auth|authentication|authorization|credentials|header|realm|scheme|tokens?", re.IGNORECASE)


def redact(text: str, secrets: Iterable[str] = (), *, hide_urls: bool = False) -> str:
    """Return `text` without credentials, cut to `MAX_CHARACTERS`.

    Hides the registered secrets of this process and what looks like a token, password or key. NUL characters become
    spaces, because PostgreSQL stores none.

    Args:
        text: text of any length and origin.
        secrets: further values to hide wherever they occur, in every encoding, whatever they look like. Those of less
            than 5 characters are ignored, as in Airflow: they occur within ordinary words.
        hide_urls: also hides whole http(s) URLs.
    """
    is_cut = len(text) > _LONGEST_SEARCHED
    text = text[:_LONGEST_SEARCHED].replace("\0", " ")
    text = hide_secrets(text, [*REGISTRY.list(), *secrets], HIDDEN)
    if is_cut:  # the end may hold the first part of a secret, which is not recognized
        text = text[:-_LONGEST_ENCODED_SECRET]
    # Cut to twice the length first: the rules then run on bounded input, and a secret that crosses the final cut is
    # still recognized.
    text = text[: 2 * MAX_CHARACTERS]
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    if hide_urls:
        text = _URL.sub(HIDDEN, text)
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"


def describe_traceback(error: BaseException) -> list[str]:
    """Return the lines of an error's traceback with its whole chain, without credentials."""
    # Line by line, because `redact` limits the length of its result.
    return [redact(line) for part in traceback.format_exception(error) for line in part.splitlines()]


def log_unexpected(logger: logging.Logger, error: BaseException, message: str, *values: object) -> None:
    """Log `message % values` as an error with the traceback of `error`, which contains no credentials.

    `Logger.exception` would show the messages of libraries as they are.
    """
    text = "\n".join(describe_traceback(error))
    logger.error("%s\n%s", message % values, text)


def _hide_assigned(match: re.Match[str]) -> str:
    return match[0] if _is_prose(match) or _is_placeholder(match) else _up_to_value(match)


def _hide_authorization(match: re.Match[str]) -> str:
    # Only a scheme without a value: "Authorization: Bearer <token>".
    if _is_placeholder(match) or (match["scheme"] is None and _SCHEME.fullmatch(match["value"])):
        return match[0]
    is_word = _SCHEME_WORDS.fullmatch(match["value"].rstrip(".:")) is not None
    if match["open"] is None and (is_word if match["scheme"] else _is_prose(match)):
        return match[0]
    return _up_to_value(match)


def _hide_scheme(match: re.Match[str]) -> str:
    return f"{match[0].split(maxsplit=1)[0]} {HIDDEN}"


def _hide_basic(match: re.Match[str]) -> str:
    """Hide base64 of `user:password`; the word after "basic" may be an ordinary one."""
    value = match["value"].rstrip("=")
    try:
        decoded = base64.urlsafe_b64decode(f"{value.translate(_URLSAFE)}{'=' * (-len(value) % 4)}")
    except ValueError:
        return match[0]
    return _up_to_value(match) if b":" in decoded and decoded.isascii() else match[0]


def _up_to_value(match: re.Match[str]) -> str:
    return f"{match[0][: match.start('value') - match.start()]}{HIDDEN}"


def _is_placeholder(match: re.Match[str]) -> bool:
    """Whether a value is nothing but the three dots that stand for one: "send `Authorization: Bearer ...`"."""
    return _PLACEHOLDER.fullmatch(match["value"]) is not None


def _is_prose(match: re.Match[str]) -> bool:
    """Whether a value is the next word of a sentence: "access token: Session has expired", "token=None"."""
    value = match["value"]
    if _STATES.fullmatch(value.rstrip(".,;!")):
        return True
    sign = match["sign"]
    if "=" in sign or not sign.endswith((" ", "\n")) or not _WORD.fullmatch(value):
        return False
    return value[0] in "(#" or _NEXT_WORD.match(match.string, match.end()) is not None


_Replacement = str | Callable[[re.Match[str]], str]
_RULES: tuple[tuple[re.Pattern[str], _Replacement], ...] = (
    (_AUTHORIZATION, _hide_authorization),
    (_SCHEMES, _hide_scheme),
    (_BASIC, _hide_basic),
    (_COOKIES, _up_to_value),
    (_URL_PASSWORD, rf"\1{HIDDEN}"),
    (_ASSIGNED, _hide_assigned),
    (_TOKENS, HIDDEN),
)
