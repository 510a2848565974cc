"""The secrets that this process knows: those of the client and of every package are in one registry.

It is the client's, which is installed without adwarm too; the rest of the package imports it from here.
"""

from adwarm_client.known_secrets import (
    MAX_SECRETS,
    MIN_SECRET,
    REGISTRY,
    SecretRegistry,
    hide_secrets,
    register_secret,
    register_url,
)

__all__ = [
    "MAX_SECRETS",
    "MIN_SECRET",
    "REGISTRY",
    "SecretRegistry",
    "hide_secrets",
    "register_secret",
    "register_url",
]
