"""Redaction of secrets."""

import ast
import base64
import logging
import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.foundation.errors import Denied, TokenDead
from adwarm_client.known_secrets import register_secret
from adwarm_client.redaction import HIDDEN, MAX_CHARACTERS, describe_traceback, log_unexpected, redact

ROOT = Path(__file__).resolve().parents[3]
OWN_TEXT = ("include/adwarm", "plugins", "dags")
_TAG = re.compile(r"\{\{.*?\}\}|\{%.*?%\}")
NO_MESSAGES = ("redaction.py", "action_events.py")
"""Patterns, and the docstring that says what is hidden."""
SECRET = "s3cr3tValue0123456789abcdef"
SENTENCES = [
    (
        "Error validating access token: Session has expired on Saturday, 26-Mar-16 06:31:46 PDT. The current time is "
        "Wednesday, 06-Apr-16 03:56:59 PDT."
    ),
    (
        "Error validating access token: The session has been invalidated because the user changed their password or "
        "Facebook has changed the session for security reasons."
    ),
    "Error validating access token: This may be because the user logged out or may be due to a system error.",
    "Error validating access token: The session is invalid because the user logged out.",
    "Error validating access token: Session has expired at unix time 1346940961. The current unix time is 1350933734.",
    "(#190) Error validating access token: The user has not authorized application 123456789.",
    "OAuthException (#190) token expired",
    "Invalid OAuth access token - Cannot parse access token",
    "Invalid OAuth 2.0 Access Token",
    "access token: it has expired",
    "password: must be 8 characters",
    "password: 8 to 20 characters are allowed",
    "This Page access token belongs to a Page that is not accessible.",
    "You cannot access the app till you log in to www.facebook.com and follow the instructions given.",
    "(#200) Requires business_management permission to manage the object",
    "(#200) Ad account owner has NOT grant ads_management or ads_read permission",
    "(#200) Provide valid app ID",
    "(#100) Missing permissions",
    "(#100) Tried accessing nonexisting field (foo) on node type (AdsInsights)",
    "(#100) Invalid appsecret_proof provided in the API argument",
    "(#104) Requires valid signature",
    "API calls from the server require an appsecret_proof argument",
    "(#10) Application does not have permission for this action",
    "(#4) Application request limit reached",
    "(#17) User request limit reached",
    "(#80004) There have been too many calls to this ad-account. Wait a bit and try again.",
    "(#3018) The start date of the time range cannot be beyond 37 months from the current date",
    "Please reduce the amount of data you're asking for, then retry your request",
    "An unknown error occurred",
    "Service temporarily unavailable",
    (
        "Unsupported get request. Object with ID '521552597455072' does not exist, cannot be loaded due to missing "
        "permissions, or does not support this operation. Please read the Graph API documentation at "
        "https://developers.facebook.com/docs/graph-api"
    ),
    (
        "Credentials don't have enough permissions. Re-authenticate if FB oauth is used or refresh access token with "
        "all required permissions."
    ),
    "An active access token must be used to query information about the current user.",
    "Unable to refresh user access token: CloudFoundry API endpoint is not set",
    "cannot generate access token: the key is missing",
    "Malformed access token",
    "The access token could not be decrypted",
    'FATAL: password authentication failed for user "adwarm"',
    "WWW-Authenticate: Basic realm",
    "Authorization: the user has not authorized application 123",
    "Cookie: the session cookie has expired",
    "secret: the app secret is wrong",
    "basic authentication is not supported",
    "trace AeBy8OuD1TeZUODbTL3P3Wu",
]
"""Error sentences of the Graph API, and of connectors and databases that people run beside it."""


def test_secrets_are_hidden(subtests: pytest.Subtests) -> None:
    """A secret is hidden in every form that logs, URLs and headers give it."""
    for text in [
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
        f"https://bucket.s3.amazonaws.com/x?X-Amz-Signature={SECRET}&X-Amz-Date=1",
        f"https://account.blob.core.windows.net/x?sv=1&sig={SECRET}",
        f'"{{\\"access_token\\":\\"{SECRET}\\",\\"limit\\":5}}"',
        f"[(b'authorization', b'Bearer {SECRET}'), (b'accept', b'*/*')]",
        f"Authorization: Bearer ...{SECRET}",
        f"Authorization: Bearer {SECRET}...",
        f"Bearer adwarm_...{SECRET}",
        f"token: ...{SECRET}",
        f'{{"access_token": "...{SECRET}"}}',
        f"postgresql://u:...{SECRET}@db/adwarm",
        f"postgresql://u:{SECRET}...@db/adwarm",
    ]:
        with subtests.test(text=text):
            assert SECRET not in redact(text)
            assert HIDDEN in redact(text)


def _iter_texts(tree: ast.AST) -> Iterator[str]:
    """Yield every text in the code; what is filled in at run time is a short word."""
    parts = {id(part) for node in ast.walk(tree) if isinstance(node, ast.JoinedStr) for part in node.values}
    for node in ast.walk(tree):
        if isinstance(node, ast.JoinedStr):
            yield "".join(str(part.value) if isinstance(part, ast.Constant) else "x7" for part in node.values)
        elif isinstance(node, ast.Constant) and isinstance(node.value, str) and id(node) not in parts:
            yield node.value


@pytest.mark.slow
def test_messages_of_adwarm_itself_are_kept() -> None:
    """No line of text in the code, and none of a template, changes: placeholders are no credentials."""
    changed = []
    for path in sorted(path for folder in OWN_TEXT for path in (ROOT / folder).rglob("*.py")):
        if path.name in NO_MESSAGES:
            continue
        texts = [line for text in _iter_texts(ast.parse(path.read_text("utf-8"))) for line in text.splitlines()]
        changed += [f"{path.name}: {line}" for line in texts if redact(line) != line.replace("\0", " ")]
    assert changed == []
    for path in sorted((ROOT / "include/adwarm").rglob("*.html")):
        text = _TAG.sub(" ", path.read_text("utf-8"))
        lines = [line for line in text.splitlines() if len(line) < MAX_CHARACTERS]
        assert [redact(line) for line in lines] == lines, path.name


@pytest.mark.parametrize(
    "text",
    [
        "send a valid token as `Authorization: Bearer ...`",
        "Authorization: Bearer adwarm_...",
        "Authorization: Bearer <token>",
        'write {"access_token": "..."}',
        "postgresql://adwarm:...@db.internal/adwarm",
        'Bearer realm="adwarm"',
    ],
)
def test_an_error_shows_its_placeholder(text: str) -> None:
    """A user reads what to send, from any error and however often it was redacted on the way."""
    assert str(TokenDead(text)) == redact(str(TokenDead(text))) == text


def test_plain_text_is_kept(subtests: pytest.Subtests) -> None:
    """Prose, ids and URLs without credentials are kept."""
    for text in [
        "code 190 subcode 463: the session has expired, renew it in the connection",
        "basic authentication failed with an OAuth exception",
        "act_123 last_7d: 1200 rows, checksum 9f86d081884c7d65 does not match",
        "https://graph.facebook.com/v26.0/act_1/insights?limit=5&level=ad",
        "Error validating access token: Session has expired on Sunday",
        "code 190, HTTP 400, trace AbCdEf",
    ]:
        with subtests.test(text=text):
            assert redact(text) == text


def test_exactly_the_value_is_hidden(subtests: pytest.Subtests) -> None:
    """Headers lose their whole value, URLs their password; what stands around them stays."""
    for text, hidden in [
        ("postgresql://u:p@ss@host/db", "postgresql://u:[hidden]@host/db"),
        ("postgresql://u:p/ss@host/db", "postgresql://u:[hidden]@host/db"),
        ("redis://:pw@host:6379/0", "redis://:[hidden]@host:6379/0"),
        ("http://host:80/users/@me", "http://host:80/users/@me"),
        ("Cookie: a=b; c=secret", "Cookie: [hidden]"),
        ("Set-Cookie: sid=abc; Path=/\nAge: 1", "Set-Cookie: [hidden]\nAge: 1"),
        ("{'Cookie': 'a=b; c=d', 'Accept': '*/*'}", "{'Cookie': [hidden], 'Accept': '*/*'}"),
        ("Authorization: Bearer abc.def", "Authorization: Bearer [hidden]"),
        ("Authorization: Bearer abcdef", "Authorization: Bearer [hidden]"),
        ("Authorization: abcdef", "Authorization: [hidden]"),
        ('{"Authorization": "Bearer x", "a": 1}', '{"Authorization": "Bearer [hidden]", "a": 1}'),
        ("Proxy-Authorization: Basic dTpw", "Proxy-Authorization: Basic [hidden]"),
        ('Authorization: Digest username="u", response="abc"', "Authorization: [hidden]"),
        ("Basic dXNlcjpwYXNz", "Basic [hidden]"),
        ("Bearer abc.def", "Bearer [hidden]"),
        ("password: hunter", "password: [hidden]"),
        ("token: Xyzabc and more", "token: Xyzabc and more"),
        ('"password": "a\\"b", "c": 1', '"password": [hidden], "c": 1'),
        ("access_token=None", "access_token=None"),
        ("access_token=[hidden]more&a=1", "access_token=[hidden]&a=1"),
        ("Cookie: [hidden]; b=secret", "Cookie: [hidden]"),
    ]:
        with subtests.test(text=text, hidden=hidden):
            assert redact(text) == hidden
            assert redact(hidden) == hidden, "a text may pass several sinks"


def test_sentences_of_the_platform_are_kept(subtests: pytest.Subtests) -> None:
    """What the Graph API and its connectors say stays readable, alone and within our own message."""
    for sentence in SENTENCES:
        with subtests.test(sentence=sentence):
            assert redact(sentence) == sentence
            assert redact(f"Meta: {sentence} (HTTP 400, code 190)") == f"Meta: {sentence} (HTTP 400, code 190)"


def test_a_traceback_is_redacted_line_by_line() -> None:
    """The chain of an error is shown without the secrets that libraries put into their messages."""
    error = ValueError(f"first access_token={SECRET}")
    error.__cause__ = OSError(f"postgresql://u:{SECRET}@host/db")
    text = "\n".join(describe_traceback(error))
    assert SECRET not in text
    assert text.count(HIDDEN) == 2
    records: list[logging.LogRecord] = []
    handler = logging.Handler()
    handler.emit = records.append  # type: ignore[method-assign]
    logger = logging.Logger("test")
    logger.addHandler(handler)
    log_unexpected(logger, error, "%s failed", "act_1")
    assert records[0].getMessage() == f"act_1 failed\n{text}"


def test_errors_of_adwarm_never_show_a_secret() -> None:
    """`str` and `repr` of every error are redacted, whoever wrote the message."""
    error = Denied(f"token {base64.b64encode(SECRET.encode()).decode()}", account_id="act_1")
    register_secret(SECRET)
    assert str(error) == f"token {HIDDEN}"
    assert repr(error) == f"Denied('token {HIDDEN}')"


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
