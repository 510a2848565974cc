"""`adwarm token`: a token is shown once, works as it was made, and is revoked by its id."""

import asyncio
from pathlib import Path

import pytest

from adwarm.model import AccessToken, Actor, Priority, TokenScope
from adwarm.runtime import Runtime
from adwarm.serving.problems import Problem
from adwarm.serving.tokens import TokenAuthenticator
from adwarm.store import accounts

from .conftest import Adwarm


def _authenticate(text: str) -> AccessToken:
    """Return the token behind the printed text."""
    runtime = Runtime()
    authenticator = TokenAuthenticator(runtime.engine, runtime.clock)
    return asyncio.run(authenticator.authenticate(f"Bearer {text}".encode()))


def test_a_token_works_as_it_was_made(adwarm: Adwarm) -> None:
    """Standard output is the token alone, standard error says what it allows; it authenticates with these rights."""
    words = "--scope enqueue --account 12 --account act_7 --actor backend --priority high --daily-fetches 45"
    result = adwarm("token", "create", "our dashboard", *words.split(), "--rate", "2.5", "--expires", "30")
    text = result.stdout.strip()
    assert result.exit_code == 0
    assert text not in result.stderr
    assert "not shown again" in result.stderr
    token = _authenticate(text)
    assert (token.name, token.scopes, token.accounts) == (
        "our dashboard",
        {TokenScope.ENQUEUE},
        {"act_12", "act_7"},
    )
    assert (token.actor, token.is_trusted, token.highest_priority) == (Actor.HUMAN, True, Priority.HIGH)
    assert (token.daily_new_keys, token.daily_refetches, token.rate_per_second) == (5, 45, 2.5)
    assert token.expires_at is not None
    assert (token.expires_at - token.created_at).days == 30
    assert set(accounts.get_many(Runtime().engine)) == {"act_12", "act_7"}


def test_the_default_is_to_read_for_a_year(adwarm: Adwarm) -> None:
    """Without options a token reads every account for 365 days; `never` has no expiry."""
    made = adwarm("token", "create", "x", "--json").json
    assert (made["scopes"], made["accounts"], made["actor"]) == (["read"], None, "human")
    token = _authenticate(made["token"])
    assert token.expires_at is not None
    assert (token.expires_at - token.created_at).days == 365
    assert adwarm("token", "create", "x", "--expires", "never", "--json").json["expires_at"] is None


def test_the_secret_is_stored_and_shown_nowhere(adwarm: Adwarm, home: Path) -> None:
    """After it was printed, the secret is in no file of the home and in no output."""
    text = adwarm("token", "create", "x").stdout.strip()
    secret = text.split("_", 2)[2]
    listed = adwarm("token", "list").stdout + adwarm("token", "list", "--json").stdout
    assert text.split("_")[1] in listed
    assert secret not in listed
    files = [path for path in home.rglob("*") if path.is_file()]
    assert files
    assert not any(secret.encode() in path.read_bytes() for path in files)


def test_a_revoked_token_does_not_work(adwarm: Adwarm) -> None:
    """A token is revoked by its id, or by the whole token, which is not repeated; it stays listed as revoked."""
    texts = [adwarm("token", "create", f"token {number}").stdout.strip() for number in range(2)]
    assert adwarm("token", "revoke", texts[0].split("_")[1]).exit_code == 0
    result = adwarm("token", "revoke", texts[1], "--json")
    assert result.json["state"] == "revoked"
    assert texts[1].split("_", 2)[2] not in result.stdout
    for text in texts:
        with pytest.raises(Problem):
            _authenticate(text)
    assert [item["state"] for item in adwarm("token", "list", "--json").json] == ["revoked", "revoked"]
    unknown = adwarm("token", "revoke", "nobody")
    assert unknown.exit_code == 1
    assert "adwarm token list" in unknown.stderr


def test_bad_input_says_what_to_do(adwarm: Adwarm, subtests: pytest.Subtests) -> None:
    """A value that is not valid makes no token, and the error says what to write."""
    for words, hint in [
        ("--scope write", "read, enqueue, admin"),
        ("--account /x", "act_"),
        ("--actor warmer", "human, embedded, api, backend"),
        ("--priority urgent", "critical, high, normal, low"),
        ("--daily-fetches -1", "at least 0"),
        ("--rate 0", "at least 0.001"),
        ("--rate nan", "at least 0.001"),
        ("--expires soon", "or never"),
        ("--expires 0", "or never"),
        ("--expires 99999", "or never"),
        ("--expires 2020-01-01", "later date"),
        ("--scope admin --account 1", "leave out --account"),
    ]:
        with subtests.test(words=words, hint=hint):
            result = adwarm("token", "create", "x", *words.split())
            assert (result.exit_code, result.stdout) == (1, "")
            assert hint in " ".join(result.stderr.split())
    assert adwarm("token", "list", "--json").json == []


def test_the_name_is_checked(adwarm: Adwarm) -> None:
    """A name is needed, and has no control characters."""
    assert adwarm("token", "create").exit_code == 2
    for name in (" ", "x" * 81, "a\x1b[31mb"):
        assert adwarm("token", "create", name).exit_code == 1


def test_the_doctor_counts_tokens(adwarm: Adwarm) -> None:
    """The doctor says how many tokens are valid, and warns of an administrator's token without expiry."""

    def check() -> tuple[bool, str]:
        (found,) = adwarm("doctor", "--only", "tokens", "--json").json
        assert found["ok"]
        return found["warning"], found["detail"]

    assert check() == (False, "none; `adwarm token create` makes one for the read API")
    adwarm("token", "create", "x", "--expires", "never")
    assert check() == (False, "1 valid, 0 expired or revoked")
    made = adwarm("token", "create", "y", "--scope", "admin", "--expires", "never", "--json").json
    is_warned, detail = check()
    assert (is_warned, made["id"] in detail) == (True, True)
