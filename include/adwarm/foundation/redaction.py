"""Takes secrets out of text before it is recorded, logged or sent: what looks like a token does not pass.

It errs towards hiding. It never fails, and what it returns is bounded in length.
"""

import re

HIDDEN = "[hidden]"
MAX_CHARACTERS = 2_000

_NAMES = (
    r"access[_-]?token|refresh[_-]?token|id[_-]?token|input[_-]?token|fb_exchange_token|token|appsecret_proof"
    r"|app[_-]?secret|client[_-]?secret|secret|api[_-]?key|password|passwd|pwd|authorization|cookie"
)
_RULES = (
    # `Authorization: Bearer x` before the names, which would take "Bearer" for the value.
    (re.compile(r"\b(bearer|basic|oauth)(\s+)(?=\S*[\d=])[A-Za-z0-9._~+/|=-]{6,}", re.IGNORECASE), rf"\1\2{HIDDEN}"),
    (re.compile(r"(://[^/\s:@]*:)[^@\s/]+(@)"), rf"\1{HIDDEN}\2"),
    (
        re.compile(rf"(?i)((?<![A-Za-z])(?:{_NAMES})[\"']?\s*(?:=|:|%3D)\s*)(\"[^\"]*\"|'[^']*'|[^\s&,;\"'<>)}}\]]+)"),
        rf"\1{HIDDEN}",
    ),
    (re.compile(r"\bEA[A-Z][A-Za-z0-9]{16,}"), HIDDEN),
    (re.compile(r"\beyJ[A-Za-z0-9_-]{8,}\.[A-Za-z0-9_-]{4,}(?:\.[A-Za-z0-9_-]*)?"), HIDDEN),
    (re.compile(r"\b\d{8,}\|[A-Za-z0-9_-]{16,}"), HIDDEN),
)


def redact(text: str) -> str:
    """Return `text` without token-like material, cut to a bounded length."""
    # Cut first, with a margin: the rules then run on bounded input, and no secret is cut into an unknown shape.
    text = text[: 2 * MAX_CHARACTERS]
    for pattern, replacement in _RULES:
        text = pattern.sub(replacement, text)
    return text if len(text) <= MAX_CHARACTERS else text[: MAX_CHARACTERS - 1] + "…"
