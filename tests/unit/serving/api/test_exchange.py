"""The token sets the actor; a trusted backend and a client that reloads by itself may say otherwise."""

from dataclasses import replace
from datetime import UTC, datetime

import pytest

from adwarm.model import AccessToken, Actor, TokenScope
from adwarm.serving.api.exchange import choose_actor, is_reload
from adwarm.serving.problems import Problem

TOKEN = AccessToken(
    id="t1",
    name="dashboard",
    scopes=frozenset({TokenScope.READ}),
    actor=Actor.EMBEDDED,
    created_at=datetime(2026, 3, 8, tzinfo=UTC),
)
TRUSTED = replace(TOKEN, is_trusted=True)


def test_who_opens(subtests: pytest.Subtests) -> None:
    """`api` counts from every token, another class from a trusted one only, and a poll is nobody's open."""
    for token, header, poll, actor in [
        (TOKEN, None, False, Actor.EMBEDDED),
        (TOKEN, b"human", False, Actor.EMBEDDED),
        (TOKEN, b"API", False, Actor.API),
        (TRUSTED, None, False, Actor.EMBEDDED),
        (TRUSTED, b" Human ", False, Actor.HUMAN),
        (TRUSTED, b"api", False, Actor.API),
        (TRUSTED, b"human", True, Actor.API),
        (TOKEN, None, True, Actor.API),
    ]:
        with subtests.test(token=token, header=header, poll=poll, actor=actor):
            assert choose_actor(token, header, is_hook_poll=poll) is actor


def test_a_trusted_backend_gets_told_what_to_write(subtests: pytest.Subtests) -> None:
    """An unknown actor is refused; nobody can pass as adwarm itself."""
    for header in [b"warmer", b"", b"\xff"]:
        with subtests.test(header=header):
            with pytest.raises(Problem) as raised:
                choose_actor(TRUSTED, header)
            assert raised.value.status == 400
            assert "human, embedded, api" in raised.value.detail


def test_a_client_announces_its_reloads() -> None:
    """Polls and revalidations are reloads; an open, or no word, is none."""
    announced = {value: is_reload(value) for value in (b"poll", b"Revalidate", b"open", b"", None)}
    assert announced == {b"poll": True, b"Revalidate": True, b"open": False, b"": False, None: False}
