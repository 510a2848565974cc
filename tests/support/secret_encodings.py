"""The encodings in which an upstream may echo a secret."""

import base64
import html
import json
from collections.abc import Callable
from urllib.parse import quote, quote_plus

Encode = Callable[[str], str]


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()


def _urlsafe(text: str) -> str:
    return base64.urlsafe_b64encode(text.encode()).decode()


def _percent_all(text: str) -> str:
    return "".join(f"%{byte:02x}" for byte in text.encode())


def _units(text: str) -> str:
    encoded = text.encode("utf-16-be")
    return "".join(f"\\u{encoded[index]:02x}{encoded[index + 1]:02X}" for index in range(0, len(encoded), 2))


ENCODINGS: dict[str, Encode] = {
    "plain": str,
    "percent": lambda text: quote(text, safe=""),
    "percent, lower case": lambda text: _percent_all(text),
    "form": quote_plus,
    "percent twice": lambda text: quote(quote(text, safe=""), safe=""),
    "JSON": lambda text: json.dumps(text)[1:-1],
    "JSON units": _units,
    "JSON in JSON": lambda text: json.dumps(json.dumps(text)),
    "JSON for HTML": lambda text: (
        json.dumps(text)[1:-1].replace("&", "\\u0026").replace("<", "\\u003c").replace("/", "\\/")
    ),
    "HTML": html.escape,
    "HTML decimal": lambda text: "".join(f"&#{ord(character)};" for character in text),
    "HTML hex": lambda text: "".join(f"&#x{ord(character):x};" for character in text),
    "base64": _base64,
    "base64 without padding": lambda text: _base64(text).rstrip("="),
    "base64 of a pair": lambda text: _base64(f"user:{text}"),
    "base64 within": lambda text: _base64(f'{{"token":"{text}","more":1}}'),
    "urlsafe base64": _urlsafe,
    "urlsafe base64 of a pair": lambda text: _urlsafe(f"ab:{text}").rstrip("="),
    "percent-encoded base64": lambda text: quote(_base64(text), safe=""),
    "hex": lambda text: text.encode().hex(),
    "upper-case hex": lambda text: text.encode().hex().upper(),
}


def find_encoded(data: str, *secrets: str) -> list[str]:
    """Return `secret: encoding` for each secret that `data` contains in some encoding.

    Encodings that mix the secret with other text are searched for without the characters at their ends, which depend
    on that text.
    """
    found = []
    for secret in secrets:
        for name, encode in ENCODINGS.items():
            encoded = encode(secret)
            if name == "JSON in JSON":
                encoded = encoded.strip('\\"')
            if "base64" in name:  # the ends hold bits of what stands around the secret
                plain = [base64.b64encode(bytes(shift) + secret.encode())[4:-4].decode() for shift in range(3)]
                forms = [*plain, *(form.replace("+", "-").replace("/", "_") for form in plain)]
            else:
                forms = [encoded]
            if any(form in data for form in forms):
                found.append(f"{secret[:6]}...: {name}")
    return found
