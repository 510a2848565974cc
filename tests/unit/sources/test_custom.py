"""Tests of sources that users write: by the path of a function, and by an entry point."""

import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from types import ModuleType
from typing import Any

import pytest

from adwarm.foundation.clock import VirtualClock
from adwarm.foundation.errors import BadRequest
from adwarm.settings import Settings, SourceSettings
from adwarm.sources import custom
from adwarm.sources.factory import build_factories, build_factory, find_capabilities, find_noun
from adwarm.sources.protocol import Capabilities
from tests.unit.testing.memory_source import MemorySource, Upstream


@pytest.fixture
def module() -> Iterator[ModuleType]:
    """A module of the user's, with a function that makes a source of the connection it is asked for."""
    made = ModuleType("my_sources")

    def make(settings: SourceSettings, connection: str, clock: Any) -> MemorySource:
        source = MemorySource(Upstream([]))
        source.connection, source.options, source.clock = connection, settings.options, clock  # type: ignore[attr-defined]
        return source

    made.make = make  # type: ignore[attr-defined]
    sys.modules["my_sources"] = made
    yield made
    del sys.modules["my_sources"]


def test_a_function_by_its_path(module: ModuleType, clock: VirtualClock) -> None:
    """The function gets settings, connection and clock, and makes a new source at each call."""
    settings = Settings(source=SourceSettings(kind="my_sources:make", options={"folder": "/ads"}))
    make = build_factory(settings, "shop", clock)
    made: Any = make()
    assert (made.connection, made.options, made.clock) == ("shop", {"folder": "/ads"}, clock)
    assert make() is not made


def test_an_entry_point(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """The name of an entry point of another package is a kind."""
    points = [EntryPoint("shop", "my_sources:make", custom.ENTRY_POINTS)]
    monkeypatch.setattr(custom, "entry_points", lambda group: points if group == custom.ENTRY_POINTS else [])
    assert build_factory(Settings(source=SourceSettings(kind="shop")))().name == "memory"
    with pytest.raises(BadRequest, match=r"meta, parquet, sql, shop, or package\.module:function"):
        build_factory(Settings(source=SourceSettings(kind="shopp")))


def test_connections_have_kinds_of_their_own(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A further connection may be of the user's kind, beside a source of adwarm."""
    monkeypatch.setenv("ADWARM_SOURCE__ACCESS_TOKEN", "one")
    monkeypatch.setenv("ADWARM_CONNECTIONS__SHOP__KIND", "my_sources:make")
    [(name, make)] = build_factories(Settings()).items()
    assert (name, make().name, make().connection) == ("shop", "memory", "shop")


def test_what_a_source_declares(module: ModuleType, monkeypatch: pytest.MonkeyPatch) -> None:
    """A user's source says what it declares, as the settings' or a further connection; others have levels, and Meta's
    breakdowns."""
    monkeypatch.setattr(MemorySource, "capabilities", Capabilities(noun="dashboard", closes_days=False))
    settings = Settings(connections={"shop": {"kind": "my_sources:make"}, "file": {"kind": "sql", "level": "adset"}})
    names = ("default", "shop", "facebook_default", "file")
    meta = Capabilities(frozenset({"account", "campaign", "adset", "ad"}), has_breakdowns=True)
    assert [find_capabilities(settings, name) for name in names] == [
        meta, MemorySource.capabilities, meta, Capabilities(meta.levels - {"ad"})
    ]  # fmt: skip
    own = Settings(source={"kind": "my_sources:make"})
    assert (find_noun(own), find_noun(Settings(source={"kind": "no_such:make"}))) == ("dashboard", "account")
    assert find_capabilities(own, "facebook_default") == meta


@pytest.mark.parametrize(
    ("kind", "message"),
    [
        ("no_such_module:make", "check PYTHONPATH"),
        ("my_sources:nothing", "cannot be imported"),
        ("my_sources:constant", "not a function"),
    ],
)
def test_what_cannot_be_imported_is_refused_at_once(kind: str, message: str, module: ModuleType) -> None:
    """A wrong path is refused when the run starts, with what to check."""
    module.constant = 1  # type: ignore[attr-defined]
    with pytest.raises(BadRequest, match=message):
        build_factory(Settings(source=SourceSettings(kind=kind)))


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"connection": "other"}, "of connection 'other', asked for 'default'"),
        ({"name": "a name of more than twenty characters"}, "write 1 to 20 characters"),
        ({"name": ""}, "write 1 to 20 characters"),
    ],
)
def test_a_source_that_does_not_fit_is_refused(changes: dict[str, str], message: str, module: ModuleType) -> None:
    """A source of another connection, or with a name that no table holds, is refused when it is made."""
    make = module.make

    def wrong(*arguments: Any) -> MemorySource:
        source: MemorySource = make(*arguments)
        for name, value in changes.items():
            setattr(source, name, value)
        return source

    module.make = wrong  # type: ignore[attr-defined]
    with pytest.raises(BadRequest, match=message):
        build_factory(Settings(source=SourceSettings(kind="my_sources:make")))()


def test_what_is_no_source_is_refused(module: ModuleType) -> None:
    """An object without the members of a source is refused, and the message names those it lacks."""
    module.make = lambda *arguments: object()  # type: ignore[attr-defined]
    with pytest.raises(BadRequest, match=r"has no name, .*close; derive it from"):
        build_factory(Settings(source=SourceSettings(kind="my_sources:make")))()


@pytest.mark.parametrize("kind", ["", "1meta", "a b", "a:b:c", "my_sources:"])
def test_a_kind_is_a_name(kind: str) -> None:
    """What can be neither a name nor a path is refused by the settings."""
    with pytest.raises(ValueError, match="kind"):
        SourceSettings(kind=kind)
