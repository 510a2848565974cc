"""Names of capacity scopes, breakers and isolated things in words."""

from typing import Final

from adwarm.pages.queries.flow_queries import BREAKER_PREFIX

_KINDS: Final = {"fleet": "all accounts together", "app": "the app", "token": "the access token"}


def describe_scope(name: str) -> str:
    """Return the name of a scope in words: `app:4711` as `the app 4711`, `fleet` as `all accounts together`."""
    kind, _, rest = name.partition(":")
    return f"{_KINDS.get(kind, f'the {kind}')} {rest}".strip()


def describe_breaker(name: str) -> str:
    """Return what a breaker guards: `source:meta account:act_1` as `meta, the account act_1`."""
    source, separator, account = name.removeprefix(BREAKER_PREFIX).rpartition(" account:")
    return f"{source}, the account {account}" if separator else name.removeprefix(BREAKER_PREFIX)
