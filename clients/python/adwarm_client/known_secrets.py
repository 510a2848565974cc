"""The secrets that this process knows, and where they occur in a text, in whatever encoding.

Code that receives a credential calls `register_secret`; from then on `redact` hides it in every text: as it is,
percent-encoded, escaped as in JSON or HTML (also several times over), in hex and in base64, alone or within a longer
value such as `user:secret`.
"""

import base64
import re
import threading
from collections import OrderedDict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import lru_cache
from html.entities import html5
from urllib.parse import unquote, urlsplit

MIN_SECRET = 5
"""Shorter values are not secrets: they occur within ordinary words."""
MAX_SECRETS = 1_000
_DEFAULTS = frozenset({"admin", "adwarm", "airflow", "password", "postgres", "postgresql", "secret", "token"})
"""Public default values: hiding them would protect nothing, and would cut up every message."""
_MAX_PART = 4_096
_MAX_WORD = 12
_MAX_LEVELS = 3

_ESCAPE = re.compile(
    r"%(?P<percent>[0-9a-fA-F]{2})|\\u(?P<unit>[0-9a-fA-F]{4})|\\x(?P<byte>[0-9a-fA-F]{2})|\\(?P<short>[\"'\\/bfnrt])"
    r"|&\#(?P<decimal>\d{1,7});|&\#[xX](?P<hex>[0-9a-fA-F]{1,6});|&(?P<entity>[A-Za-z0-9]{2,31};)"
)
_SHORT = {"b": "\b", "f": "\f", "n": "\n", "r": "\r", "t": "\t"}
_STANDARD_BASE64 = str.maketrans("-_", "+/")
_LOWER_HEX = str.maketrans("ABCDEF", "abcdef")
_BASE64 = frozenset("ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/")


@dataclass(frozen=True, slots=True)
class _Forms:
    """What a secret looks like in a text that is free of escapes.

    Attributes:
        plain: literal forms.
        word: finds a secret that looks like an ordinary word, only where it stands alone; None for all others.
        base64: the characters of standard base64 that depend on the secret alone, for each of its three alignments.
        hex: lower-case hex.
    """

    plain: tuple[str, ...]
    word: re.Pattern[str] | None
    base64: tuple[str, ...]
    hex: str


class SecretRegistry:
    """Up to `MAX_SECRETS` secrets; the one that was registered longest ago makes room. Thread-safe."""

    def __init__(self) -> None:
        self._secrets: OrderedDict[str, None] = OrderedDict()
        self._lock = threading.Lock()
        self._snapshot: tuple[str, ...] = ()

    def add(self, value: str) -> None:
        """Register a secret; one of less than `MIN_SECRET` characters is ignored."""
        parts = [value[start : start + _MAX_PART] for start in range(0, len(value), _MAX_PART)]
        with self._lock:
            for part in parts:
                if len(part) >= MIN_SECRET:
                    self._secrets[part] = None
                    self._secrets.move_to_end(part)
            while len(self._secrets) > MAX_SECRETS:
                self._secrets.popitem(last=False)
            self._snapshot = tuple(self._secrets)

    def list(self) -> tuple[str, ...]:
        """Return the secrets, the newest last."""
        return self._snapshot

    def clear(self) -> None:
        """Forget every secret."""
        with self._lock:
            self._secrets.clear()
            self._snapshot = ()


REGISTRY = SecretRegistry()
"""The secrets of this process."""


def register_secret(value: str | None) -> None:
    """Hide `value` from now on in every text that `redact` returns, in every encoding.

    None, values of less than `MIN_SECRET` characters and public defaults such as "postgres" are ignored.
    """
    if value and value not in _DEFAULTS:
        REGISTRY.add(value)


def register_url(url: str | None) -> None:
    """Register the password in a URL, as written and percent-decoded; without one, nothing happens.

    A password that equals the user name is not registered: hiding it would hide the name everywhere.
    """
    if not url or "://" not in url or "@" not in url:
        return
    user_info, _, _ = url.partition("://")[2].rpartition("@")
    try:
        parts = urlsplit(url)
        passwords = {user_info.partition(":")[2], parts.password or ""}
        user = parts.username or ""
    except ValueError:  # such as a bracket in the password
        passwords, user = {user_info.partition(":")[2]}, user_info.partition(":")[0]
    for password in passwords:
        for value in {password, unquote(password)} - {user, unquote(user)}:
            register_secret(value)


def hide_secrets(text: str, secrets: Iterable[str], replacement: str) -> str:
    """Return `text` with each secret replaced, in whatever encoding it occurs."""
    spans = sorted(_find_spans(text, [_forms(secret) for secret in secrets if len(secret) >= MIN_SECRET]))
    if not spans:
        return text
    parts, end = [], 0
    for start, stop in spans:
        if start >= end:
            parts += [text[end:start], replacement]
        end = max(end, stop)
    return "".join([*parts, text[end:]])


def _find_spans(text: str, secrets: list[_Forms]) -> Iterator[tuple[int, int]]:
    """Yield where secrets begin and end in `text`, at each level of unescaping."""
    if not secrets:
        return
    level: str = text
    starts: list[int] | None = None
    for _ in range(_MAX_LEVELS + 1):
        for start, stop in _spans_of_level(level, secrets):
            yield (start, stop) if starts is None else (starts[start], starts[stop])
        unescaped = _unescape(level)
        if unescaped is None:
            return
        level, inner = unescaped
        starts = inner if starts is None else [starts[index] for index in inner]


def _spans_of_level(text: str, secrets: list[_Forms]) -> Iterator[tuple[int, int]]:
    base64_text, hex_text = text.translate(_STANDARD_BASE64), text.translate(_LOWER_HEX)
    for forms in secrets:
        if forms.word is not None:
            yield from (match.span() for match in forms.word.finditer(text))
        for plain in forms.plain:
            if plain in text:
                yield from _occurrences(text, plain)
        for core in forms.base64:
            if core in base64_text:
                yield from (_whole_base64(base64_text, span) for span in _occurrences(base64_text, core))
        if forms.hex in hex_text:
            yield from _occurrences(hex_text, forms.hex)


def _occurrences(text: str, part: str) -> Iterator[tuple[int, int]]:
    start = text.find(part)
    while start >= 0:
        yield start, start + len(part)
        start = text.find(part, start + 1)


def _whole_base64(text: str, span: tuple[int, int]) -> tuple[int, int]:
    """Widen a span by the neighbors that hold bits of the secret, and by the padding."""
    start, stop = span
    if start > 0 and text[start - 1] in _BASE64:
        start -= 1
    if stop < len(text) and text[stop] in _BASE64:
        stop += 1
    while stop < len(text) and text[stop] == "=":
        stop += 1
    return start, stop


@lru_cache(maxsize=2 * MAX_SECRETS)
def _forms(secret: str) -> _Forms:
    encoded = secret.encode("utf-8", "surrogatepass")
    is_word = len(secret) < _MAX_WORD and secret.isascii() and (secret.isalpha() or secret.isdigit())
    word = re.compile(rf"(?:(?<![A-Za-z0-9])|(?<=%[0-9A-Fa-f]{{2}})){secret}(?![A-Za-z0-9])") if is_word else None
    return _Forms(
        plain=() if is_word else tuple(_plain_forms(secret)),
        word=word,
        base64=tuple(_base64_core(encoded, shift) for shift in range(3)),
        hex=encoded.hex(),
    )


def _plain_forms(secret: str) -> set[str]:
    forms = {secret, secret.replace(" ", "+")}
    if not secret.isascii():
        for form in list(forms):
            units = form.encode("utf-16-be", "surrogatepass")
            forms |= {
                form.encode("utf-8", "surrogatepass").decode("latin-1"),  # percent-encoded, unescaped byte by byte
                "".join(chr(int.from_bytes(units[index : index + 2], "big")) for index in range(0, len(units), 2)),
            }
    # A secret may itself contain what looks like an escape, which unescaping the text around it changes.
    for form in list(forms):
        unescaped = _unescape(form)
        while unescaped is not None and unescaped[0] not in forms and len(unescaped[0]) >= MIN_SECRET:
            forms.add(unescaped[0])
            unescaped = _unescape(unescaped[0])
    return forms


def _base64_core(secret: bytes, shift: int) -> str:
    """Return the characters that hold bits of the secret only, when `shift` bytes precede it (modulo 3)."""
    text = base64.b64encode(bytes(shift) + secret).decode()
    first, last = -(-shift * 8 // 6), (shift + len(secret)) * 8 // 6
    return text[first:last]


def _unescape(text: str) -> tuple[str, list[int]] | None:
    """Return `text` with each escape replaced by its character, and the position of each character; None without one.

    The list has one more item than the text: the length of the original.
    """
    parts: list[str] = []
    starts: list[int] = []
    end = 0
    for match in _ESCAPE.finditer(text):
        character = _character(match)
        if character is None:
            continue
        parts += [text[end : match.start()], character]
        starts.extend(range(end, match.start()))
        starts.extend([match.start()] * len(character))
        end = match.end()
    if not parts:
        return None
    starts.extend(range(end, len(text) + 1))
    return "".join([*parts, text[end:]]), starts


def _character(match: re.Match[str]) -> str | None:
    group = match.lastgroup or ""
    value = match[group]
    if group == "short":
        return _SHORT.get(value, value)
    if group == "entity":
        return html5.get(value)
    code = int(value, 10 if group == "decimal" else 16)
    return chr(code) if code <= 0x10FFFF else None
