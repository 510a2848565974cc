"""Rows of other accounts and invalid metrics are never stored; the key fails with the reason."""

from collections.abc import Callable
from typing import Any

import pytest

from adwarm.sources.meta.source import MetaSource
from adwarm.sources.meta.transport import GraphResponse
from adwarm.store import entries
from tests.unit.prefetch.conftest import LONG_WINDOW, PlatformHarness


def spoiled(staging: PlatformHarness, spoil: Callable[[dict[str, Any]], None]) -> PlatformHarness:
    """Return the same harness with a source that spoils every response with rows of account 1."""

    def make() -> MetaSource:
        source = staging.prefetch.sources.make_default()
        graph: Any = source._graph  # type: ignore[attr-defined]
        get = graph.get

        def answer(path: tuple[str, ...], params: dict[str, Any], account_id: str | None = None) -> GraphResponse:
            result: GraphResponse = get(path, params, account_id)
            if path[-1] == "insights" and account_id == "act_1":
                spoil(result.body)
            return result

        graph.get = answer
        return source  # type: ignore[return-value]

    return staging.with_source(make)


def foreign(body: dict[str, Any]) -> None:
    """Make one row another account's."""
    body["data"][-1]["account_id"] = "2"


def infinite(body: dict[str, Any]) -> None:
    """Make one metric infinite."""
    body["data"][0]["spend"] = "Infinity"


@pytest.mark.parametrize("span", ["last_7d", "2026-10-01..2026-11-24"])
@pytest.mark.parametrize(("spoil", "field"), [(foreign, "account_id"), (infinite, "spend")])
def test_a_foreign_row_is_never_stored(
    staging: PlatformHarness, span: str, spoil: Callable[[dict[str, Any]], None], field: str
) -> None:
    """The key fails after one request and names the field; nothing is stored, and the other account is fetched."""
    bad = spoiled(staging, spoil)
    outcomes = bad.run("act_1", "act_2", span=span).outcomes
    assert [str(outcome.status) for outcome in outcomes] == ["failed", "fetched"]
    assert field in str(outcomes[0].reason)
    assert staging.stored_rows("act_1", LONG_WINDOW) == []
    assert entries.list_entries(staging.prefetch.engine, "act_1") == []
    read = [call for call in staging.calls() if call.account == "act_1" and call.route in {"insights", "result"}]
    assert len(read) == 1


def test_a_circle_of_pages_ends(staging: PlatformHarness) -> None:
    """Cursors A, B, A, B are followed twice, and the key fails."""
    letters: list[str] = []

    def circle(body: dict[str, Any]) -> None:
        letters.append("ab"[len(letters) % 2])
        body["paging"] = {"cursors": {"after": letters[-1]}, "next": "https://x/"}
        body["data"] = []

    def unread(staging: PlatformHarness) -> PlatformHarness:
        make = staging.prefetch.sources.make_default

        def make_without_cursor() -> MetaSource:
            source = make()
            graph: Any = source._graph  # type: ignore[attr-defined]
            get = graph.get
            graph.get = lambda path, params, account_id=None: get(
                path, {name: value for name, value in params.items() if name != "after"}, account_id
            )
            return source  # type: ignore[return-value]

        return staging.with_source(make_without_cursor)

    (outcome,) = spoiled(unread(staging), circle).run("act_1", span="last_7d").outcomes
    assert str(outcome.status) == "failed"
    assert "circle" in str(outcome.reason)
    assert len(letters) == 3
