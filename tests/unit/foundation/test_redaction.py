"""Redaction of secrets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.foundation.redaction import HIDDEN, MAX_CHARACTERS, redact

SECRET = "s3cr3tValue0123456789abcdef"


@pytest.mark.parametrize(
    "text",
    [
        f"GET https://graph/v26.0/act_1/insights?access_token={SECRET}&limit=5",
        f"appsecret_proof={SECRET}",
        f'{{"access_token": "{SECRET}", "error": 1}}',
        f"{{'client_secret': '{SECRET}'}}",
        f"headers: Authorization: Bearer {SECRET}",
        f"Authorization: OAuth {SECRET}",
        f"postgresql://adwarm:{SECRET}@db/adwarm",
        f"password = {SECRET}",
        f"fb_exchange_token%3D{SECRET}",
        f"token: {SECRET}",
        f"token: '{SECRET}'",
        f"input_token%3DEAA{SECRET}",
        f"the token EAAB{SECRET} has expired",
        f"the app token 1234567890|{SECRET} is wrong",
        f"eyJhbGciOiJIUzI1NiJ9.{SECRET}.{SECRET}",
    ],
)
def test_secrets_are_hidden(text: str) -> None:
    """A secret is hidden in every form that logs, URLs and headers give it."""
    assert SECRET not in redact(text)
    assert HIDDEN in redact(text)


@pytest.mark.parametrize(
    "text",
    [
        "code 190 subcode 463: the session has expired, renew it in the connection",
        "basic authentication failed with an OAuth exception",
        "act_123 last_7d: 1200 rows, checksum 9f86d081884c7d65 does not match",
        "https://graph.facebook.com/v26.0/act_1/insights?limit=5&level=ad",
        "Error validating access token: Session has expired on Sunday",
        "code 190, HTTP 400, trace AbCdEf",
    ],
)
def test_plain_text_is_kept(text: str) -> None:
    """Prose, ids and URLs without credentials are kept."""
    assert redact(text) == text


@given(st.text(max_size=6_000))
def test_it_never_fails_and_is_bounded(text: str) -> None:
    """Any text can be recorded."""
    assert len(redact(text)) <= MAX_CHARACTERS


@given(st.integers(0, 5_000))
def test_a_secret_at_the_cut_is_hidden_too(offset: int) -> None:
    """Cutting long text does not uncover part of a token."""
    assert "s3cr3t" not in redact("x" * offset + f" access_token={SECRET}")


def test_known_secrets_and_urls_are_hidden_on_request() -> None:
    """A known secret is hidden whatever it looks like; a secret that is hidden once is not touched by later rules."""
    text = "Malformed access_token=plain at https://graph/x?y=1 for plain"
    assert redact(text, ["plain", ""]) == f"Malformed access_token={HIDDEN} at https://graph/x?y=1 for {HIDDEN}"
    assert redact(text, ["plain"], hide_urls=True) == f"Malformed access_token={HIDDEN} at {HIDDEN} for {HIDDEN}"


def test_a_secret_of_a_few_characters_hides_no_word() -> None:
    """A value shorter than five characters is no credential, and hiding it would cut words apart."""
    assert redact("the session has expired", ["x", ""]) == "the session has expired"
    assert redact("the value is xyzzy", ["xyzzy"]) == f"the value is {HIDDEN}"


def test_nul_characters_become_spaces() -> None:
    """PostgreSQL stores no NUL character."""
    assert redact("a\0b") == "a b"
