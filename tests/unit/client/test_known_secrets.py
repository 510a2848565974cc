"""Known secrets are hidden in every encoding, and nothing else is."""

import threading

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from adwarm_client.known_secrets import (
    MAX_SECRETS,
    MIN_SECRET,
    SecretRegistry,
    hide_secrets,
    register_secret,
    register_url,
)
from adwarm_client.redaction import HIDDEN, redact
from tests.support.secret_encodings import ENCODINGS

SECRETS = st.one_of(
    st.text(st.characters(min_codepoint=33, max_codepoint=126), min_size=8, max_size=60),
    st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=8, max_size=40),
    st.text("abcXYZ019+/=&%|:@.-_", min_size=12, max_size=200),
).filter(lambda text: HIDDEN[1:-1] not in text and any(not character.isalnum() for character in text))


@pytest.fixture(autouse=True)
def registry(monkeypatch: pytest.MonkeyPatch) -> SecretRegistry:
    """A registry without the secrets of other tests."""
    fresh = SecretRegistry()
    monkeypatch.setattr("adwarm_client.known_secrets.REGISTRY", fresh)
    monkeypatch.setattr("adwarm_client.redaction.REGISTRY", fresh)
    return fresh


@given(secret=SECRETS, before=st.text(max_size=30), after=st.text(max_size=30))
@example("Zx9/pä &ss+w\"or'd<1>\\é", "said", "and left")
def test_a_known_secret_is_hidden_in_every_encoding(secret: str, before: str, after: str) -> None:
    """Wherever an encoded secret stands in a text, the result contains neither it nor its plain form."""
    for encoding, encode in ENCODINGS.items():
        encoded = encode(secret)
        hidden = hide_secrets(f"{before} {encoded} {after}", [secret], "\N{FULL BLOCK}")
        assert "\N{FULL BLOCK}" in hidden, encoding
        assert encoded not in hidden, encoding
        assert secret not in hidden, encoding


def test_redact_hides_registered_secrets(registry: SecretRegistry) -> None:
    """`redact` hides what was registered, in every encoding and without being told."""
    secret = "Zx9/pä &ss+w\"or'd<1>\\é"
    register_secret(secret)
    for encoding, encode in ENCODINGS.items():
        text = redact(f"upstream said {encode(secret)} and left")
        if encoding in {"JSON in JSON", "base64 of a pair", "base64 within", "urlsafe base64 of a pair"}:
            assert HIDDEN in text, encoding
        else:
            assert text == f"upstream said {HIDDEN} and left", encoding


@given(text=st.text(max_size=300), secret=st.text(min_size=MIN_SECRET, max_size=30))
def test_text_without_the_secret_is_unchanged(text: str, secret: str) -> None:
    """Hiding changes nothing when no level of unescaping and no encoding contains the secret."""
    hidden = hide_secrets(text, [secret], HIDDEN)
    assert hidden == text or HIDDEN in hidden


def test_a_secret_that_is_a_word_is_hidden_where_it_stands_alone(subtests: pytest.Subtests) -> None:
    """A weak password does not cut other words and ids apart."""
    for secret, text, expected in [
        ("secret", "the secrets of a secretary", "the secrets of a secretary"),
        ("secret", "user:secret@host", "user:[hidden]@host"),
        ("secret", "a%20secret%2E", "a%20[hidden]%2E"),
        ("12345", "act_9123456 has 123450 rows", "act_9123456 has 123450 rows"),
        ("12345", "pin 12345.", "pin [hidden]."),
        ("abcd", "abcd is too short", "abcd is too short"),
    ]:
        with subtests.test(secret=secret):
            assert hide_secrets(text, [secret], HIDDEN) == expected


def test_the_registry_is_bounded_and_keeps_the_newest(registry: SecretRegistry) -> None:
    """The secret that was registered longest ago makes room; registering again makes it new."""
    for number in range(MAX_SECRETS):
        registry.add(f"secret-{number}")
    registry.add("secret-0")
    registry.add("secret-new")
    assert len(registry.list()) == MAX_SECRETS
    assert registry.list()[-2:] == ("secret-0", "secret-new")
    assert "secret-1" not in registry.list()


def test_short_values_and_nothing_are_ignored(registry: SecretRegistry) -> None:
    """Values of less than five characters occur within words."""
    for value in (None, "", "abcd"):
        register_secret(value)
    assert registry.list() == ()


def test_a_long_secret_is_hidden_whole(registry: SecretRegistry) -> None:
    """A private key of several thousand characters is hidden in parts that leave nothing."""
    key = "".join(f"{number:x}+/" for number in range(2_500))
    register_secret(key)
    assert len(key) > 8_192
    assert set(hide_secrets(key, registry.list(), "*")) == {"*"}


@pytest.mark.parametrize(
    ("url", "secrets"),
    [
        ("postgresql://u:p@ss-word@host/db", {"p@ss-word"}),
        ("postgresql://u:p%40ss-word@host/db", {"p%40ss-word", "p@ss-word"}),
        ("postgresql://adwarm:adwarm@host/db", set()),
        ("postgresql://u@host/db", set()),
        ("sqlite:////tmp/a.db", set()),
        ("s3://key:se/cret9@bucket/x", {"se/cret9"}),
        (None, set()),
    ],
)
def test_the_password_of_a_url_is_registered(url: str | None, secrets: set[str], registry: SecretRegistry) -> None:
    """As written and percent-decoded; a password that is the user's name is none."""
    register_url(url)
    assert set(registry.list()) == secrets


def test_registering_from_threads_loses_nothing(registry: SecretRegistry) -> None:
    """Credentials enter in worker threads."""

    def register(thread: int) -> None:
        for number in range(100):
            registry.add(f"t{thread}-secret-{number}")

    threads = [threading.Thread(target=register, args=(number,)) for number in range(8)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(registry.list()) == 800
