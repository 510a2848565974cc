"""Pictures of ads: who may read one, what a lost one leaves, and how long its object lives."""

from dataclasses import replace
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest
from sqlalchemy import Engine

from adwarm.foundation.errors import NotFound
from adwarm.maintenance.garbage_collection import collect_garbage
from adwarm.maintenance.retention import build_rules
from adwarm.settings import Settings
from adwarm.store import Context, ObjectStore, creatives
from adwarm.store.creatives import AdCreative

AT = datetime(2026, 3, 4, 10, 0, tzinfo=UTC)
IMAGES = {
    ".png": b"\x89PNG\r\n\x1a\n1",
    ".jpg": b"\xff\xd8\xff\xe0\0\x10JFIF",
    ".gif": b"GIF89a1",
    ".webp": b"RIFF\x04\0\0\0WEBPVP8 ",
}


@pytest.fixture
def context(engine: Engine, tmp_path: Path) -> Context:
    """An empty store."""
    return Context(engine, ObjectStore(str(tmp_path)), Settings(home=tmp_path))


def _store(context: Context, data: bytes) -> AdCreative:
    item = creatives.store_picture(context.objects, AdCreative("1", "9"), data)
    creatives.save(context.engine, "act_1", [item], AT)
    return item


def test_a_picture_is_served_as_what_it_is(context: Context) -> None:
    """The media type follows from the first bytes; a picture is of the accounts whose ads show it, and of no other."""
    for suffix, data in IMAGES.items():
        name = str(_store(context, data).picture)
        assert name.endswith(suffix)
        body, media_type = creatives.read_picture(context, name, "act_1")
        assert (body, media_type.partition("/")[0]) == (data, "image")
        with pytest.raises(NotFound, match="no ad shows"):
            creatives.read_picture(context, name, "act_2")


@pytest.mark.parametrize("name", ["", "../../adwarm.db", "0" * 64 + ".png", "0" * 64, "x.parquet", "%00"])
def test_nothing_else_is_served(context: Context, name: str) -> None:
    """A name that no ad shows is not found, also when an object has it."""
    digest = context.objects.put(b"rows of an account")
    for item in (name, digest, f"{digest}.parquet"):
        with pytest.raises(NotFound):
            creatives.read_picture(context, item)


def test_a_lost_picture_is_read_again(context: Context) -> None:
    """An object that is gone is not found, and its creative is without a picture, so that the next reading gets it."""
    item = _store(context, IMAGES[".png"])
    context.objects.delete(str(item.object_hash), item.suffix)
    with pytest.raises(NotFound, match="lost"):
        creatives.read_picture(context, str(item.picture))
    assert creatives.find_pictures(context.engine, "act_1", ["9"]) == {}


def test_a_picture_lives_with_its_rows(context: Context) -> None:
    """The row of an ad that ended is deleted by its age, and the picture after the last ad that shows it."""
    item = _store(context, IMAGES[".png"])
    creatives.save(context.engine, "act_1", [replace(item, ad_id="2")], AT + timedelta(days=1))
    later = datetime(2100, 1, 1, tzinfo=UTC)  # objects have the machine's time
    for days, ads in ((0.5, ["2"]), (1.5, [])):
        now = AT + timedelta(days=context.settings.retention.score_days + days)
        creatives.save(context.engine, "act_1", [AdCreative("3")], now)
        assert sum(build_rules(context, None, now)["ad_creative"]()) == 1  # type: ignore[arg-type]
        collect_garbage(context, later)
        rows = creatives.get_many(context.engine, [("act_1", "1"), ("act_1", "2")])
        assert [ad for _, ad in rows] == ads
        assert context.objects.exists(str(item.object_hash), item.suffix) is bool(ads)
