"""The text of notices."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from hypothesis import given
from hypothesis import strategies as st

from adwarm.recovery.alerts import get_next_step
from adwarm.recovery.messages import build_message, build_test_message, combine_messages
from adwarm.store.alerts import OPENED, RESOLVED, StoredAlert

NOON = datetime(2026, 11, 25, 12, tzinfo=UTC)
ALERT = StoredAlert(
    id=1,
    kind="Throttled",
    scope="meta",
    opened_at=NOON,
    last_at=NOON + timedelta(minutes=4),
    errors=1_200,
    window_seconds=300.0,
    example="act_1 last_7d",
    reason="too many calls",
    next_step="Wait.",
    resolved_at=None,
)


def test_a_message_says_what_a_human_needs() -> None:
    """The title is one line; the text holds what failed, since when, how often, example, reason and next step."""
    message = build_message(ALERT, OPENED)
    assert message.title == "adwarm: 1,200 errors Throttled of meta in 5 min"
    assert message.text.splitlines() == [
        "What failed: meta, Throttled",
        "Since: 2026-11-25 12:00:00 UTC, last 2026-11-25 12:04:00 UTC",
        "How often: 1,200 errors in the first 5 min and since",
        "Example: act_1 last_7d",
        "Reason: too many calls",
        "Next step: Wait.",
        "Where to look: adwarm errors --kind Throttled, adwarm errors --alerts",
    ]
    assert (message.kind, message.key, message.is_failure) == ("Throttled", "act_1 last_7d", True)


def test_resolved_and_repeated_notices_say_so() -> None:
    """The title begins with the state; a resolved alert asks for nothing."""
    resolved = build_message(replace(ALERT, resolved_at=NOON + timedelta(hours=1)), RESOLVED)
    assert resolved.title == "adwarm: resolved: 1,200 errors Throttled of meta"
    assert not resolved.is_failure
    assert "Resolved at 2026-11-25 13:00:00 UTC" in resolved.text
    assert "Next step" not in resolved.text
    assert build_message(ALERT, "repeated 2").title == "adwarm: still open: 1,200 errors Throttled of meta"


@given(st.text(), st.text())
def test_the_title_is_one_bounded_line(kind: str, scope: str) -> None:
    """Whatever an error is called, the title has no line break and mails cannot be given headers by it."""
    message = build_message(replace(ALERT, kind=kind, scope=scope), OPENED)
    assert len(message.title.splitlines()) == 1
    assert len(message.title) <= 160


def test_text_stays_text_in_a_mail() -> None:
    """Markup in an error reaches a mail as text."""
    message = build_message(replace(ALERT, reason="<img src=x> & {{ 7 }}"), OPENED)
    assert "\uff1cimg src=x\uff1e &amp; {{ 7 }}" in message.html


def test_several_messages_of_a_kind_become_one() -> None:
    """It has the first ten whole and counts the others; a single one stays as it is."""
    messages = [build_message(replace(ALERT, scope=f"account:act_{number}"), OPENED) for number in range(12)]
    assert combine_messages(messages[:1]) is messages[0]
    combined = combine_messages(messages)
    assert combined.title == "adwarm: 12 alerts, the first: 1,200 errors Throttled of account:act_0 in 5 min"
    assert all(f"What failed: account:act_{number}, " in combined.text for number in range(10))
    assert "act_10" not in combined.text
    assert combined.text.endswith("and 2 more: adwarm errors --alerts")


def test_every_kind_has_a_next_step() -> None:
    """Known kinds have their own sentence, with the connection where it matters; others name the command."""
    assert "the connection agency" in get_next_step("TokenDead", "agency")
    assert "adwarm errors --kind Strange" in get_next_step("Strange", "agency")
    assert "'chat'" in build_test_message("chat").text
