"""Decides who may use the control routes: programs on this machine, and no web page in one of its browsers.

A page reaches a loopback server in two ways: it sends a request across origins, or its own name is made to resolve to
this machine (DNS rebinding). The browser tells of the first in `Origin`, of the second in `Host`.
"""

import ipaddress
from collections.abc import Mapping
from urllib.parse import urlsplit

_LOCAL_NAMES = frozenset({"localhost", "localhost.localdomain", "ip6-localhost"})


def find_refusal(client: str, headers: Mapping[str, str], scheme: str, bound: str | None = None) -> str | None:
    """Return why a call of a control route is refused; None when it is allowed.

    Args:
        bound: the name or address that the server listens on.
    """
    if not _is_loopback(client):
        return "the control routes serve callers on this machine only"
    host = headers.get("host", "")
    name = _name_of(host)
    if name is None or not (name in _LOCAL_NAMES or _is_loopback(name) or name == (bound or "").lower()):
        return "the control routes refuse this Host; call them by a loopback address, such as http://127.0.0.1:PORT"
    origin = headers.get("origin")
    if origin is not None and origin.lower() != f"{scheme}://{host}".lower():
        return "the control routes refuse web pages of another origin; call them from a program, without Origin"
    return None


def _name_of(host: str) -> str | None:
    """Return the name or address in a `Host` header without its port, in lower case; None when it is malformed."""
    try:
        parts = urlsplit(f"//{host}")
        _ = parts.port
    except ValueError:
        return None
    is_plain = parts.netloc == host and "@" not in host
    return parts.hostname.rstrip(".") if is_plain and parts.hostname else None


def _is_loopback(address: str) -> bool:
    try:
        parsed = ipaddress.ip_address(address)
    except ValueError:
        return False
    mapped = parsed.ipv4_mapped if isinstance(parsed, ipaddress.IPv6Address) else None
    return (mapped or parsed).is_loopback
