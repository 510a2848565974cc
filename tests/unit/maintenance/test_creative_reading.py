"""Creatives of scored ads: which are read and when, what each run calls, and what stays when something fails."""

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Engine

from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.errors import AdwarmError, Denied, NotFound, Refused, TokenDead, Transient, VersionEnded
from adwarm.maintenance import creative_reading
from adwarm.maintenance.creative_reading import make_read_creatives
from adwarm.maintenance.platform_calls import PlatformCalls
from adwarm.maintenance.runner import StepBudget, StepResult
from adwarm.model import Account
from adwarm.runtime import Runtime
from adwarm.settings import Settings
from adwarm.sources.protocol import Capabilities, Creative, CreativePage
from adwarm.store import accounts, creatives, read_traffic
from adwarm.store.denials import make_version_scope, open_versions
from tests.support import fatigue_scores

START = datetime(2026, 3, 4, 10, 0, tzinfo=UTC)
DAY = START.date() - timedelta(days=1)
PNG = b"\x89PNG\r\n\x1a\nof "


@dataclass
class Gallery:
    """A source whose ads show the creatives in `shown`; what is in `failing` fails."""

    shown: dict[str, str]
    failing: dict[str, AdwarmError] = field(default_factory=dict)
    calls: list[str] = field(default_factory=list)
    capabilities = Capabilities()
    name = "gallery"
    connection = "default"
    credential = ""

    def scopes(self, account_id: str) -> tuple[()]:
        return ()

    def list_creatives(self, account_id: str, ad_ids: Sequence[str]) -> CreativePage:
        self._call(account_id)
        found = [Creative(ad, self.shown[ad], "Sale", "VIDEO", self.shown[ad]) for ad in ad_ids if ad in self.shown]
        return CreativePage(tuple(found))

    def read_thumbnail(self, url: str) -> bytes:
        self._call(url)
        return PNG + url.encode()

    def _call(self, name: str) -> None:
        self.calls.append(name)
        if name in self.failing:
            raise self.failing[name]


@dataclass
class Reading:
    """The step over an installation with scored ads of `act_1`."""

    runtime: Runtime
    clock: VirtualClock
    source: Any

    def run(self, hours: float = 0) -> StepResult:
        """Run the step some hours later."""
        self.clock.sleep(3_600 * hours)
        calls = PlatformCalls(
            self.runtime.context,
            self.runtime.call_admission,
            self.clock,
            lambda: {"default": lambda: self.source},
            self.runtime.isolation,
        )
        return make_read_creatives(calls, self.clock)(None, StepBudget.of(self.clock, 60))

    def pictures(self) -> dict[str, bytes]:
        """What each ad shows that was read; empty without a picture."""
        rows = creatives.get_many(self.runtime.engine, [("act_1", str(number)) for number in range(60)])
        objects = self.runtime.objects
        return {
            ad: objects.get(row.object_hash, row.suffix) if row.object_hash else b"" for (_, ad), row in rows.items()
        }


@pytest.fixture
def reading_of(engine: Engine, tmp_path: Path) -> Callable[..., Reading]:
    """Return a function that stores scores of so many ads, the highest first, and returns the step."""

    def make(ads: int, source: Any, **values: dict[str, Any]) -> Reading:
        url = engine.url.render_as_string(hide_password=False)
        clock = VirtualClock(START)
        runtime = Runtime(Settings(home=tmp_path, database_url=url, data_url=str(tmp_path / "data")), clock)
        accounts.save(engine, [Account("act_1", "UTC", "UTC")], START)
        rows = [
            fatigue_scores.make_score(str(ad), DAY, **{"loss": 0.9 - ad / 100, **values.get(f"ad_{ad}", {})})
            for ad in range(ads)
        ]
        fatigue_scores.publish(engine, rows, 1, True, START)
        return Reading(runtime, clock, source)

    return make


def _add_account(reading: Reading, account_id: str) -> None:
    accounts.save(reading.runtime.engine, [Account(account_id, "UTC", "UTC")], START)
    fatigue_scores.publish(
        reading.runtime.engine, [fatigue_scores.make_score("0", DAY, account_id=account_id)], 1, True, START
    )


def test_a_picture_is_read_once_for_each_creative(reading_of: Callable[..., Reading]) -> None:
    """Two ads of one creative cost one download; nothing is called until a day later, then one call sees a new one."""
    source = Gallery({"0": "a", "1": "b", "2": "a"})
    reading = reading_of(3, source)
    assert reading.run().counts == {"calls": 1, "downloads": 2, "ads": 3}
    assert reading.pictures() == {"0": PNG + b"a", "1": PNG + b"b", "2": PNG + b"a"}
    assert reading.run(23).skipped == "no ad waits for its creative"
    source.shown["1"] = "c"
    source.calls.clear()
    assert reading.run(2).counts == {"calls": 1, "downloads": 1, "ads": 3}
    assert source.calls == ["act_1", "c"]
    assert reading.pictures()["1"] == PNG + b"c"
    counted = read_traffic.get_totals(reading.runtime.engine, START - timedelta(days=1), START + timedelta(days=3))
    assert counted["upstream_calls"] == 2  # what the quota of the API counts: downloads are not among them


def test_an_expired_picture_is_missing_for_a_day(reading_of: Callable[..., Reading]) -> None:
    """One that is not to be had, or is no image, leaves a tile without one; a day later its new link is tried."""
    source = Gallery({"0": "a", "1": "b"}, {"a": NotFound("HTTP 403")})
    reading = reading_of(2, source)
    result = reading.run()
    assert reading.pictures() == {"0": b"", "1": PNG + b"b"}
    assert (result.counts["missing"], result.problems) == (1, [])
    assert reading.run(2).skipped
    source.failing.clear()
    assert reading.run(24).counts == {"calls": 1, "downloads": 1, "ads": 2}
    assert reading.pictures()["0"] == PNG + b"a"


def test_what_is_no_image_is_not_stored(reading_of: Callable[..., Reading], monkeypatch: pytest.MonkeyPatch) -> None:
    """A page of markup behind the link is refused by its first bytes, whatever it calls itself."""
    reading = reading_of(1, Gallery({"0": "a"}))
    monkeypatch.setattr(Gallery, "read_thumbnail", lambda _, url: b"<svg xmlns='http://www.w3.org/2000/svg'/>")
    assert "not a PNG, JPEG, GIF or WebP" in reading.run().problems[0]
    assert reading.pictures() == {"0": b""}
    assert list(reading.runtime.objects.list_objects()) == []


def test_an_unreachable_host_ends_the_downloads(reading_of: Callable[..., Reading]) -> None:
    """The first failure of the moment ends the downloads of a run; the next run reads what is left."""
    source = Gallery({"0": "a", "1": "b", "2": "c"}, {"b": Transient("no route")})
    reading = reading_of(3, source)
    assert reading.run().problems == ["pictures: no route"]
    assert source.calls == ["act_1", "a", "b"]
    assert set(reading.pictures()) == {"0"}
    source.failing.clear()
    assert reading.run(1).counts == {"calls": 1, "downloads": 2, "ads": 2}


def test_a_host_that_is_not_reached_costs_no_more_calls(reading_of: Callable[..., Reading]) -> None:
    """Other accounts are not called in a run in which no picture can be had, which may last where a firewall is."""
    source = Gallery({"0": "a"}, {"a": Transient("no route")})
    reading = reading_of(1, source)
    _add_account(reading, "act_2")
    reading.run()
    assert source.calls == ["act_1", "a"]


@pytest.mark.parametrize(
    ("scope", "calls"), [("source:gallery", ["act_1"]), ("account:act_1", ["act_1", "act_2", "a"])]
)
def test_an_open_breaker_ends_its_calls(reading_of: Callable[..., Reading], scope: str, calls: list[str]) -> None:
    """That of a source ends all calls of the run, that of an account no others."""
    source = Gallery({"0": "a"}, {"act_1": Refused("its breaker is open", retry_after=60, scope=scope)})
    reading = reading_of(1, source)
    _add_account(reading, "act_2")
    assert reading.run().problems == ["act_1: its breaker is open"]
    assert source.calls == calls


@pytest.mark.parametrize(("error", "calls"), [(TokenDead("dead"), 2), (VersionEnded("ended"), 1)])
def test_a_connection_that_ended_is_called_once(
    reading_of: Callable[..., Reading], error: AdwarmError, calls: int
) -> None:
    """Its other accounts are not called, nor a version whose gate is closed; what can be read is read at once."""
    source = Gallery({"0": "a"}, {"act_1": error, "act_2": error})
    reading = reading_of(1, source)
    _add_account(reading, "act_2")
    for _ in range(2):
        with pytest.raises(type(error)):
            reading.run()
    assert source.calls == ["act_1"] * calls
    source.failing.clear()
    open_versions(reading.runtime.engine, [make_version_scope("default", "")])
    reading.runtime.__dict__.pop("isolation")  # another process
    assert reading.run().counts == {"calls": 2, "downloads": 2, "ads": 2}


def test_ads_are_read_by_one_call_when_one_is_due(reading_of: Callable[..., Reading]) -> None:
    """Those that were read more than half a day ago come along, so that an account's ads get due together."""
    source = Gallery({str(ad): "a" for ad in range(3)})
    reading = reading_of(3, source)
    for ad, hours in (("0", 0), ("1", 6), ("2", 20)):
        creatives.postpone(reading.runtime.engine, "act_1", [ad], START + timedelta(hours=hours))
    assert reading.run(23).skipped
    assert reading.run(2).counts == {"calls": 1, "downloads": 1, "ads": 2}
    assert set(source.calls) == {"act_1", "a"}


@pytest.mark.parametrize(
    ("error", "waits"), [(Transient("down"), False), (Denied("not yours", account_id="act_1"), True)]
)
def test_a_failing_account_loses_no_picture(
    reading_of: Callable[..., Reading], error: AdwarmError, waits: bool
) -> None:
    """What is stored stays; the account is called again by the next run, or a day later when it refuses."""
    source = Gallery({"0": "a"})
    reading = reading_of(2, source)
    reading.run()
    assert reading.pictures() == {"0": PNG + b"a", "1": b""}  # the platform does not list the ad 1
    source.failing["act_1"] = error
    assert reading.run(25).problems == [f"act_1: {error}"]
    assert reading.pictures()["0"] == PNG + b"a"
    assert bool(reading.run(1).skipped) is waits


def test_a_source_without_creatives_is_not_called(reading_of: Callable[..., Reading]) -> None:
    """A table has none, and an account that is not active is left alone: no call, no row."""
    reading = reading_of(2, object())
    assert (reading.run().counts, reading.pictures()) == ({}, {})
    assert "has creatives" in str(reading.run().skipped)
    source = Gallery({"0": "a"})
    reading.source = source
    accounts.set_by_user(reading.runtime.engine, "act_1", {"user_status": "closed"})
    assert (reading.run().counts, source.calls) == ({}, [])


def test_the_first_ads_of_an_account_are_read(
    reading_of: Callable[..., Reading], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Ads that lose most come first, 25 at a time until all were read once; the requests of one run are bounded."""
    source = Gallery({str(ad): f"c{ad}" for ad in range(60)})
    reading = reading_of(60, source, ad_59={"loss": 0.3, "recent_spend": 100.0})
    monkeypatch.setattr(creative_reading, "MAX_REQUESTS", 11)
    assert reading.run().counts["downloads"] == 10
    assert set(reading.pictures()) == {"59", *map(str, range(9))}
    monkeypatch.setattr(creative_reading, "MAX_REQUESTS", 100)
    reading.run()
    assert set(reading.pictures()) == {"59", *map(str, range(34))}
    reading.run()
    assert set(reading.pictures()) == set(map(str, range(60)))
