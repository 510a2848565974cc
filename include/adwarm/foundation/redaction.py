"""Removes secrets from text before it is recorded, logged or sent.

When in doubt it hides. It never fails, and the length of the result is bounded.
"""

import re
from collections.abc import Iterable

HIDDEN = "[hidden]"
MAX_CHARACTERS = 2_000
_MIN_SECRET = 5

_NAMES = (
    r"access[_-]?token|refresh[_-]?token|id[_-]?token|input[_-]?token|fb_exchange_token|appsecret_proof"
    r"|app[_-]?secret|client[_-]?secret|secret|api[_-]?key|password|passwd|pwd|authorization|cookie"
)
_ASSIGN = r"[\"']?\s*(?:=|:|%3D)\s*"
_VALUE = r"(?!\[hidden\])(\"[^\"]*\"|'[^']*'|[^\s&,;\"'<>)}\]]+)"
_RULES = (
    # `Authorization: Bearer x` comes before the names, which would take "Bearer" for the value.
    (re.compile(r"\b(bearer|basic|oauth)(\s+)(?=\S*[\d=])[A-Za-z0-9._~+/|=-]{6,}", re.IGNORECASE), rf"\1\2{HIDDEN}"),
    (re.compile(r"(://[^/\s:@]*:)[^@\s/]+(@)"), rf"\1{HIDDEN}\2"),
    (re.compile(rf"(?i)((?<![A-Za-z])(?:{_NAMES}){_ASSIGN}){_VALUE}"), rf"\1{HIDDEN}"),
    # "access token: Session has expired" is prose: after a colon and a space, a plain word is not a token.
    (re.compile(rf"(?i)((?<![A-Za-z])token{_ASSIGN})(?!(?<=: )[a-z]+(?:[\s.,;]|$)){_VALUE}"), rf"\1{HIDDEN}"),
    (re.compile(r"\badwarm_[a-z0-9]{12}_[A-Za-z0-9_-]{20,}"), HIDDEN),
    (re.compile(r"(?:EAA|\bEA[B-Z])[A-Za-z0-9%]{12,}"), HIDDEN),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?"), HIDDEN),
    (re.compile(r"\b\d{8,}\|[A-Za-z0-9_-]{16,}"), HIDDEN),
)
_URL = re.compile(r"https?://\S+")


def redact(text: str, secrets: Iterable[str] = (), *, hide_urls: bool = False) -> str:
    """Return `text` without credentials, cut to `MAX_CHARACTERS`.

    Hides what looks like a token, password or key. NUL characters become spaces, because PostgreSQL stores none.

    Args:
        secrets: values to hide wherever they occur, whatever they look like. Those of less than 5 characters are
            ignored, as in Airflow: they occur within ordinary words.
        hide_urls: also hides whole http(s) URLs.
    """
    for secret in secrets:
        if len(secret) >= _MIN_SECRET:
            text = text.replace(secret, HIDDEN)
    # Cut to twice the length first: the rules then run on bounded input, and a secret that crosses the final cut is
    # still recognized.
    text = text[: 2 * MAX_CHARACTERS].replace("\0", " ")
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    if hide_urls:
        text = _URL.sub(HIDDEN, text)
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"
