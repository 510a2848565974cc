"""The text of a notice: one line as its title, then what failed, since when, how often, why, and what to do."""

from collections.abc import Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from html import escape
from shlex import quote
from typing import Final

from adwarm.foundation.redaction import redact
from adwarm.foundation.wording import format_count, format_duration, format_plain
from adwarm.store.alerts import RESOLVED, StoredAlert

AD_FATIGUE: Final = "AdFatigue"
"""Kind of the alerts on ads that got worse; nothing failed, so their messages have words of their own."""
WEEKLY_DIGEST: Final = "WeeklyDigest"
"""Kind of the weekly digest, whose title and text are those of its message."""
_TITLE_LENGTH = 160
_MOST_TEXTS = 10


@dataclass(frozen=True, slots=True)
class Message:
    """A notice as channels send it. Nothing in it is a secret, and its texts are made plain; see `format_plain`.

    Attributes:
        title: one line.
        text: several lines.
        key: an example of what failed; empty when there is none.
        is_failure: whether it says that something failed; not when an alert has ended, and not in a digest.
    """

    title: str
    text: str
    kind: str
    key: str = ""
    is_failure: bool = True

    def __post_init__(self) -> None:
        for name in ("title", "text", "kind", "key"):
            object.__setattr__(self, name, format_plain(getattr(self, name)))

    @property
    def html(self) -> str:
        """The text for mails: escaped, with its line breaks."""
        return f"<pre>{escape(self.text)}</pre>"


def build_message(alert: StoredAlert, notice: str) -> Message:
    """Return the message of a notice of an alert.

    Args:
        notice: `opened`, `resolved`, or another for a repetition.
    """
    if alert.kind == AD_FATIGUE:
        return _build_fatigue_message(alert)
    if alert.kind == WEEKLY_DIGEST:
        return Message(_one_line(alert.example or ""), redact(alert.reason), alert.kind, is_failure=False)
    is_resolved = notice == RESOLVED
    number = format_count(alert.errors, "error")
    state = "resolved: " if is_resolved else "still open: " if notice.startswith("repeated") else ""
    within = f" in {format_duration(alert.window_seconds)}" if alert.window_seconds and not state else ""
    what = f"{alert.kind} of {alert.scope}" if not alert.window_seconds else f"{number} {alert.kind} of {alert.scope}"
    title = _one_line(f"adwarm: {state}{what}{within}")
    since, last = _time(alert.opened_at), _time(alert.last_at)
    span = f" in the first {format_duration(alert.window_seconds)} and since" if alert.window_seconds else ""
    lines = [
        f"What failed: {alert.scope}, {alert.kind}",
        f"Since: {since}, last {last}" if alert.last_at != alert.opened_at else f"Since: {since}",
        f"How often: {number}{span}",
        *([f"Example: {alert.example}"] if alert.example else []),
        f"Reason: {alert.reason}",
    ]
    if is_resolved:
        ended = "" if alert.resolved_at is None else f" at {_time(alert.resolved_at)}"
        lines.append(f"Resolved{ended}: no further error came. Nothing is left to do.")
    else:
        lines.append(f"Next step: {alert.next_step}")
    lines.append(f"Where to look: adwarm errors --kind {quote(alert.kind)}, adwarm errors --alerts")
    return Message(title, "\n".join(lines), alert.kind, alert.example or "", not is_resolved)


def _build_fatigue_message(alert: StoredAlert) -> Message:
    """Return the message about ads that got worse, of one account or several."""
    whose = alert.scope.removeprefix("account:")
    look = f"adwarm fatigue {quote(whose)} --changes" if whose != alert.scope else "the tab Fatigue of the page"
    lines = [f"Which: {alert.reason}", f"Next step: {alert.next_step}", f"Where to look: {look}"]
    title = _one_line(f"adwarm: {format_count(alert.errors, 'creative')} of {whose} got worse")
    return Message(title, "\n".join(redact(line) for line in lines), alert.kind, alert.example or "")


def combine_messages(messages: Sequence[Message]) -> Message:
    """Return one message for several of a kind: the first ten of them, and how many more there are."""
    first, more = messages[0], len(messages) - _MOST_TEXTS
    if len(messages) == 1:
        return first
    texts = [f"{message.title}\n{message.text}" for message in messages[:_MOST_TEXTS]]
    texts += [f"and {more:,} more: adwarm errors --alerts"] if more > 0 else []
    title = _one_line(f"adwarm: {len(messages):,} alerts, the first: {first.title.removeprefix('adwarm: ')}")
    return replace(first, title=title, text="\n\n".join(texts))


def build_test_message(channel: str) -> Message:
    """Return the message of `adwarm doctor --send-alert`."""
    text = f"This is a test of the channel {channel!r}. Alerts of adwarm arrive here. Nothing has failed."
    return Message("adwarm: test of alerts", text, "Test", "act_1 last_7d")


def _one_line(text: str) -> str:
    line = " ".join(redact(text).split())
    return line if len(line) <= _TITLE_LENGTH else line[: _TITLE_LENGTH - 1] + "…"


def _time(moment: datetime) -> str:
    return f"{moment:%Y-%m-%d %H:%M:%S} UTC"
