"""Reads the platform's notices of fatigue: the body of a webhook, and files of notices in JSON or CSV.

A webhook of the platform has this form (object `ad_account`, field `creative_fatigue`); everything else in it is
ignored, because the platform adds objects and fields without a new version:

    {"object": "ad_account", "entry": [{"id": "1234", "time": 1782862117, "changes": [
        {"field": "creative_fatigue", "value": {"ad_account_id": "1234", "adgroup_id": "5678",
            "creative_fatigue_level": "HIGH", "creative_fatigue_message": "..."}}]}]}

`adgroup_id` is the id of the ad; `ad_id` and `message` are read where those are absent. Source: the
platform's pages "Creative fatigue" and "Webhooks Reference: Ad Account".
"""

import csv
import io
import re
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any, Final

import orjson

from adwarm.foundation.clock import utc
from adwarm.foundation.errors import BadRequest
from adwarm.model import PLATFORM_LEVELS, PlatformLevel, PlatformNotice, normalize_account_id
from adwarm.model.platform_notice import NoticeOrigin

MAX_NOTICES: Final = 200_000
"""The most notices in one file."""
MAX_FILE_BYTES: Final = 64 * 2**20
_OBJECT, _FIELD = "ad_account", "creative_fatigue"
_AD_ID = re.compile(r"[0-9A-Za-z_-]{1,24}", re.ASCII)
_MAX_MESSAGE = 400
_CONTROLS = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]+")
_OLDEST = datetime(2010, 1, 1, tzinfo=UTC)
_TOLERANCE = timedelta(days=1)
_MILLISECONDS_FROM = 10**11
_COLUMNS = ("account_id", "ad_id", "noticed_at", "level")


@dataclass(frozen=True, slots=True)
class WebhookNotices:
    """What a webhook says about fatigue.

    Attributes:
        notices: its notices, in its order.
        ignored: its changes of other objects and fields.
        unreadable: why changes of `creative_fatigue` could not be read, one text each; no text repeats a value.
    """

    notices: tuple[PlatformNotice, ...]
    ignored: int
    unreadable: tuple[str, ...]


def parse_webhook(body: bytes, now: datetime) -> WebhookNotices:
    """Return the notices in the body of a webhook.

    A change that cannot be read does not keep the others from being stored: sending it again would not mend it.

    Args:
        body: the body as it was received.
        now: when it was received; a notice from later than a day after it is unreadable.

    Raises:
        BadRequest: the body is not a webhook of the platform.
    """
    document = _load(body, "the body")
    if not _is_webhook(document):
        raise BadRequest("the body is not a webhook of the platform: an object with `object` and a list `entry`")
    notices: list[PlatformNotice] = []
    unreadable: list[str] = []
    ignored = 0
    for entry, change in _list_changes(document):
        if document["object"] != _OBJECT or change.get("field") != _FIELD:
            ignored += 1
            continue
        try:
            notices.append(_read_change(entry, change, now, "webhook"))
        except BadRequest as error:
            unreadable.append(str(error))
    return WebhookNotices(tuple(notices), ignored, tuple(unreadable))


def parse_file(data: bytes, now: datetime, *, is_csv: bool) -> list[PlatformNotice]:
    """Return the notices in a file.

    Args:
        data: the file. CSV has a header with `account_id`, `ad_id`, `noticed_at`, `level` and optionally `message`.
            JSON is a webhook, or a list of webhooks and of objects with those names.
        now: a notice from later than a day after it is an error.
        is_csv: whether it is CSV; else JSON.

    Raises:
        BadRequest: the file or a notice in it cannot be read; the message names the line or the item.
    """
    if len(data) > MAX_FILE_BYTES:
        raise BadRequest(f"the file has more than {MAX_FILE_BYTES // 2**20} MiB; split it")
    notices: list[PlatformNotice] = []
    for notice in _read_csv(data, now) if is_csv else _read_json(data, now):
        if len(notices) == MAX_NOTICES:
            raise BadRequest(f"the file has more than {MAX_NOTICES:,} notices; split it")
        notices.append(notice)
    return notices


def parse_level(text: object) -> PlatformLevel:
    """Return the level in a text, in any case.

    Raises:
        BadRequest: the platform has no such level.
    """
    word = text.strip().lower() if isinstance(text, str) else None
    for level in PLATFORM_LEVELS:
        if word == level:
            return level
    raise BadRequest("the level is not low, medium or high")


def _load(data: bytes, name: str) -> Any:
    try:
        return orjson.loads(data)
    except ValueError:
        raise BadRequest(f"{name} is not valid JSON") from None


def _is_webhook(document: object) -> bool:
    if not isinstance(document, dict):
        return False
    return isinstance(document.get("object"), str) and isinstance(document.get("entry"), list)


def _list_changes(document: Mapping[str, Any]) -> Iterator[tuple[Mapping[str, Any], Mapping[str, Any]]]:
    """Yield each change with its entry; an entry without a list of changes has none."""
    for entry in document["entry"]:
        changes = entry.get("changes") if isinstance(entry, dict) else None
        for change in changes if isinstance(changes, list) else ():
            yield entry, change if isinstance(change, dict) else {}


def _read_change(
    entry: Mapping[str, Any], change: Mapping[str, Any], now: datetime, origin: NoticeOrigin
) -> PlatformNotice:
    value = change.get("value")
    if not isinstance(value, dict):
        raise BadRequest("the change has no object `value`")
    return _make_notice(
        {
            "account_id": value.get("ad_account_id", entry.get("id")),
            "ad_id": value.get("adgroup_id", value.get("ad_id")),
            "noticed_at": entry.get("time"),
            "level": value.get("creative_fatigue_level"),
            "message": value.get("creative_fatigue_message", value.get("message")),
        },
        now,
        origin,
    )


def _make_notice(values: Mapping[str, Any], now: datetime, origin: NoticeOrigin) -> PlatformNotice:
    """Return the notice with these values.

    Raises:
        BadRequest: one of them is missing or malformed.
    """
    ad_id = _read_id(values.get("ad_id"))
    if not _AD_ID.fullmatch(ad_id):
        raise BadRequest("the ad id is not 1 to 24 letters, digits, `_` or `-`")
    return PlatformNotice(
        _read_account(values.get("account_id")),
        ad_id,
        _read_moment(values.get("noticed_at"), now),
        parse_level(values.get("level")),
        clean_message(values.get("message")),
        origin,
    )


def clean_message(value: object) -> str | None:
    """Return the platform's text in one line of at most 400 characters, without control characters; None if empty."""
    text = _CONTROLS.sub(" ", value[: 4 * _MAX_MESSAGE]) if isinstance(value, str) else ""
    return text.strip()[:_MAX_MESSAGE] or None


def _read_id(value: object) -> str:
    """Return an id as text; the platform writes text, other programs write numbers."""
    if isinstance(value, int) and not isinstance(value, bool):
        return str(value)
    return value.strip() if isinstance(value, str) else ""


def _read_account(value: object) -> str:
    try:
        return normalize_account_id(_read_id(value))
    except BadRequest:
        raise BadRequest("the account id is not `act_` and up to 20 digits") from None


def _read_moment(value: object, now: datetime) -> datetime:
    """Return a time that is given as ISO 8601, or as seconds (or milliseconds) since 1970."""
    moment = _parse_moment(value)
    if moment is None:
        raise BadRequest("the time is neither ISO 8601, such as 2026-11-25T09:00:00+00:00, nor seconds since 1970")
    if not _OLDEST <= moment <= now + _TOLERANCE:
        raise BadRequest("the time is before 2010 or in the future")
    return moment


def _parse_moment(value: object) -> datetime | None:
    if isinstance(value, str) and not value.strip().isdecimal():
        try:
            return utc(datetime.fromisoformat(value.strip()))
        except (ValueError, OverflowError):
            return None
    try:
        seconds = int(value) if isinstance(value, int | str) and not isinstance(value, bool) else -1
        if seconds < 0:
            return None
        return datetime.fromtimestamp(seconds / 1000 if seconds >= _MILLISECONDS_FROM else seconds, UTC)
    except (ValueError, OverflowError, OSError):
        return None


def _read_json(data: bytes, now: datetime) -> Iterator[PlatformNotice]:
    document = _load(data, "the file")
    for number, item in enumerate(document if isinstance(document, list) else [document], start=1):
        try:
            yield from _read_item(item, now)
        except BadRequest as error:
            raise BadRequest(f"item {number}: {error}") from None


def _read_item(item: object, now: datetime) -> Iterable[PlatformNotice]:
    if isinstance(item, dict) and "entry" not in item:
        return [_make_notice(item, now, "file")]
    if not isinstance(item, dict) or not _is_webhook(item):
        raise BadRequest("it is neither a webhook of the platform nor an object with " + ", ".join(_COLUMNS))
    if item["object"] != _OBJECT:
        return []
    changes = [pair for pair in _list_changes(item) if pair[1].get("field") == _FIELD]
    return [_read_change(entry, change, now, "file") for entry, change in changes]


def _read_csv(data: bytes, now: datetime) -> Iterator[PlatformNotice]:
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError:
        raise BadRequest("the file is not UTF-8; save it as UTF-8") from None
    reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
    try:
        names = [name.strip().lower() for name in reader.fieldnames or ()]
        missing = [name for name in _COLUMNS if name not in names]
        if missing:
            raise BadRequest(f"the first line has no column {missing[0]}; write {','.join(_COLUMNS)},message")
        reader.fieldnames = names
        for row in reader:
            yield _make_notice(row, now, "file")
    except BadRequest as error:
        raise BadRequest(f"line {max(reader.line_num, 1)}: {error}") from None
    except csv.Error as error:
        raise BadRequest(f"near line {max(reader.line_num, 1)}: it is not CSV, {error}") from None
