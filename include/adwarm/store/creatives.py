"""What ads show: the creative of each, as it was last read from the platform. Its picture is an object of the store.

Ads of one creative share one object. Garbage collection deletes it after the last row that refers to it.
"""

from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date, datetime, timedelta
from typing import Annotated, Final

from sqlalchemy import Engine, Index, and_, case, func, or_, select, true, tuple_, update

from adwarm.foundation.errors import BadRequest, Corrupt, NotFound
from adwarm.model.fatigue_score import CREATIVE_KEY
from adwarm.store.accounts import table as account
from adwarm.store.columns import UtcDateTime, from_row, table_of, to_row, value_column
from adwarm.store.database import read_transaction, upsert, write_transaction
from adwarm.store.objects import PICTURE_TYPES, Context, ObjectStore
from adwarm.store.scores import rank_columns
from adwarm.store.scores import table as fatigue_score

SHOWN_ADS: Final = 25
"""Ads of an account that are read again each day, and ads of one call: those that lose most of what is spent."""
_SOON: Final = timedelta(hours=12)
"""Ads that would be due within this time are read together with those that are, by one call."""
_BEGINNINGS: Final = {b"\x89PNG\r\n\x1a\n": ".png", b"\xff\xd8\xff": ".jpg", b"GIF87a": ".gif", b"GIF89a": ".gif"}


@dataclass(frozen=True, slots=True)
class AdCreative:
    """What an ad shows: its creative, and the object with its picture."""

    ad_id: Annotated[str, 64, "Ad id."]
    creative_id: Annotated[str, 64, "The platform's id of the creative; empty when it named none."] = ""
    title: Annotated[str, 400, "Title of the creative, or else its name."] = ""
    format: Annotated[str, 40, "What the platform calls its kind, such as `VIDEO`."] = ""
    object_hash: Annotated[str | None, 64, "Object with the picture; NULL without one."] = None
    suffix: Annotated[str, 8, "Suffix of that object, such as `.jpg`."] = ""

    @property
    def picture(self) -> str | None:
        """The name of the picture, for `read_picture`."""
        return self.object_hash and self.object_hash + self.suffix


table = table_of(
    AdCreative,
    "ad_creative",
    value_column("read_at", UtcDateTime(), doc="When it was last read."),
    Index(None, "object_hash"),
    Index(None, "read_at"),
    key=("account_id", "ad_id"),
    grows="scored ads",
    bound="deleted `ADWARM_RETENTION__SCORE_DAYS` after it was last read",
)


def store_picture(objects: ObjectStore, item: AdCreative, data: bytes) -> AdCreative:
    """Store a picture and return `item` with it. The first bytes say what it is, whatever its sender says.

    Raises:
        Corrupt: it is not a PNG, JPEG, GIF or WebP.
        StorageError: it cannot be stored.
    """
    is_webp = data[:4] == b"RIFF" and data[8:12] == b"WEBP"
    suffix = next((suffix for beginning, suffix in _BEGINNINGS.items() if data.startswith(beginning)), None)
    if suffix is None and not is_webp:
        raise Corrupt(f"the picture of {len(data):,} bytes is not a PNG, JPEG, GIF or WebP", code="picture")
    suffix = suffix or ".webp"
    return replace(item, object_hash=objects.put(data, suffix), suffix=suffix)


def list_due(engine: Engine, since: date, before: datetime) -> dict[str, list[str]]:
    """Return by account up to `SHOWN_ADS` ads to read, the most urgent first.

    Those are shown ones that were not read since `before`, and all that were never read. Those that were read within
    `_SOON` after it come along when another ad of the account is due.

    Args:
        since: accounts with no newer scores are left out.
    """
    probe = select(func.max(fatigue_score.c.as_of)).where(fatigue_score.c.account_id == account.c.id)
    newest = select(account.c.id, probe.correlate(account).scalar_subquery().label("day")).cte("newest")
    score = fatigue_score.c
    rank = func.row_number().over(partition_by=score.account_id, order_by=rank_columns(score)).label("rank")
    is_newest = and_(score.account_id == newest.c.id, score.as_of == newest.c.day, newest.c.day >= since)
    is_ad = ~score.ad_id.startswith(CREATIVE_KEY)
    shown = select(score.account_id, score.ad_id, rank).join(newest, is_newest).where(is_ad).subquery("shown")
    read = and_(table.c.account_id == shown.c.account_id, table.c.ad_id == shown.c.ad_id)
    is_due, is_soon = (or_(table.c.read_at.is_(None), table.c.read_at < end) for end in (before, before + _SOON))
    of_account = func.max(case((is_due, 1), else_=0)).over(partition_by=shown.c.account_id).label("is_due")
    is_chosen = or_(table.c.read_at.is_(None), and_(shown.c.rank <= SHOWN_ADS, is_soon))
    place = func.row_number().over(partition_by=shown.c.account_id, order_by=shown.c.rank).label("place")
    query = select(shown, of_account, place).outerjoin(table, read).where(is_chosen)
    ads = query.subquery("ads").c
    query = select(ads.account_id, ads.ad_id).where(ads.is_due == 1, ads.place <= SHOWN_ADS)
    due: dict[str, list[str]] = defaultdict(list)
    with read_transaction(engine) as connection:
        for account_id, ad_id in connection.execute(query.order_by(ads.account_id, ads.place)):
            due[account_id].append(ad_id)
    return due


def save(engine: Engine, account_id: str, items: Sequence[AdCreative], at: datetime) -> None:
    """Store what ads of an account show, as read at `at`."""
    with write_transaction(engine) as connection:
        upsert(connection, table, [{"account_id": account_id, "read_at": at, **to_row(item)} for item in items])


def postpone(engine: Engine, account_id: str, ad_ids: Sequence[str], at: datetime) -> None:
    """Count ads that could not be read as read at `at`, without a change of what is stored of them."""
    with write_transaction(engine) as connection:
        upsert(connection, table, [{"account_id": account_id, "ad_id": ad_id, "read_at": at} for ad_id in ad_ids])


def find_pictures(engine: Engine, account_id: str, creative_ids: Collection[str]) -> dict[str, AdCreative]:
    """Return by creative a row of the account that has its picture; creatives without one are left out."""
    query = select(table).where(
        table.c.account_id == account_id, table.c.creative_id.in_(creative_ids), table.c.object_hash.is_not(None)
    )
    with read_transaction(engine) as connection:
        return {row.creative_id: from_row(AdCreative, row) for row in connection.execute(query)}


def get_many(engine: Engine, scores: Collection[tuple[str, str]]) -> dict[tuple[str, str], AdCreative]:
    """Return what was read of ads and creatives, by the account and the `ad_id` of their scores."""
    shared = {(account_id, key.removeprefix(CREATIVE_KEY)) for account_id, key in scores if CREATIVE_KEY in key}
    is_ad = tuple_(table.c.account_id, table.c.ad_id).in_(list(scores))
    is_shared = tuple_(table.c.account_id, table.c.creative_id).in_(list(shared))
    query = select(table).where(or_(is_ad, is_shared) if shared else is_ad).order_by(table.c.object_hash.is_(None))
    with read_transaction(engine) as connection:
        rows = connection.execute(query).all() if scores else []
    by_key: dict[tuple[str, str], AdCreative] = {}
    for row in rows:
        for key in {row.ad_id, CREATIVE_KEY + row.creative_id}:
            by_key.setdefault((row.account_id, key), from_row(AdCreative, row))
    return {key: by_key[key] for key in scores if key in by_key}


def list_shared(engine: Engine, account_ids: Collection[str]) -> dict[str, dict[str, AdCreative]]:
    """Return by account and ad what is known of the ads that share their creative with another ad of the account."""
    query = select(table).where(table.c.account_id.in_(sorted(account_ids)), table.c.creative_id != "")
    by_creative: dict[tuple[str, str], list[AdCreative]] = defaultdict(list)
    with read_transaction(engine) as connection:
        for row in connection.execute(query.order_by(table.c.account_id, table.c.ad_id)):
            by_creative[row.account_id, row.creative_id].append(from_row(AdCreative, row))
    shared: dict[str, dict[str, AdCreative]] = defaultdict(dict)
    for (account_id, _), items in by_creative.items():
        shared[account_id] |= {item.ad_id: item for item in items} if len(items) > 1 else {}
    return shared


def read_picture(context: Context, name: str, account_id: str | None = None) -> tuple[bytes, str]:
    """Return a picture that an ad shows, of this account if one is given, and its media type.

    One that is lost or damaged is read from the platform again.

    Raises:
        NotFound: no ad shows it, or it is lost.
    """
    digest, dot, kind = name.partition(".")
    suffix = dot + kind
    is_shown = and_(table.c.object_hash == digest, table.c.suffix == suffix)
    of_account = true() if account_id is None else table.c.account_id == account_id
    with read_transaction(context.engine) as connection:
        if connection.execute(select(table.c.ad_id).where(is_shown, of_account).limit(1)).first() is None:
            raise NotFound("no ad shows this picture")
    try:
        return context.objects.get(digest, suffix), PICTURE_TYPES[suffix]
    except (Corrupt, NotFound, BadRequest) as error:
        with write_transaction(context.engine) as connection:
            connection.execute(update(table).where(is_shown).values(object_hash=None))
        raise NotFound("the picture is lost; it is read again within a day") from error
