"""Names of capacity scopes and of what gates guard, in words."""

from typing import Final

_KINDS: Final = {"fleet": "all accounts together", "app": "the app", "token": "the access token"}


def describe_scope(name: str) -> str:
    """Return the name of a scope in words: `app:4711` as `the app 4711`, `fleet` as `all accounts together`."""
    kind, _, rest = name.partition(":")
    return f"{_KINDS.get(kind, f'the {kind}')} {rest}".strip()


def describe_gated(name: str) -> str:
    """Return what a gate guards: `source:meta account:act_1` as `meta, the account act_1`."""
    first, _, account = name.partition(" ")
    words = first.removeprefix("source:") if first.startswith("source:") else describe_scope(first)
    return f"{words}, {describe_scope(account)}" if account else words
