"""Sibling reports: the most opened kinds, which mean the same in every grid."""

from datetime import UTC, datetime, timedelta

import pandas as pd

from adwarm.forecast.features.grid import SLOT_MICROS, OpenGrid
from adwarm.forecast.features.key_features import MAX_KINDS, NO_KIND, SiblingReports
from adwarm.patterns.opens import Opens, opens_from_frame

START = datetime(2026, 3, 2, 8, tzinfo=UTC)
END = int((START + timedelta(days=2)).timestamp()) * 1_000_000


def log(*named: tuple[str, str, str, int]) -> Opens:
    """Return opens an hour apart: account, date range, report, how many."""
    rows = [
        (account, date_range, report, START + timedelta(hours=hour))
        for account, date_range, report, count in named
        for hour in range(count)
    ]
    return opens_from_frame(pd.DataFrame(rows, columns=["account_id", "date_range", "report", "ts"]))


def grid_of(*named: tuple[str, str, str, int]) -> OpenGrid:
    """Return the grid of such a log."""
    return OpenGrid.from_opens(log(*named), END)


def test_the_most_opened_kinds_of_all_accounts_are_used() -> None:
    """Opens of a kind add up over accounts; reports of one date range are separate; at most `MAX_KINDS` are used."""
    grid = grid_of(
        ("a", "today", "ads", 3), ("b", "today", "ads", 3), ("a", "last_7d", "ads", 5), ("a", "today", "x", 1)
    )
    assert SiblingReports.most_opened(grid).report_kinds == ("today/ads", "last_7d/ads", "today/x")
    many = grid_of(*(("a", f"range_{number:02}", "ads", 20 - number) for number in range(MAX_KINDS + 4)))
    assert SiblingReports.most_opened(many).report_kinds == tuple(
        f"range_{number:02}/ads" for number in range(MAX_KINDS)
    )


def test_a_log_without_opens_has_no_kinds() -> None:
    """An empty grid gives an empty tuple."""
    grid = OpenGrid.from_opens(log(("a", "today", "ads", 1)).before(0), 10 * SLOT_MICROS)
    assert SiblingReports.most_opened(grid).report_kinds == ()


def test_an_accounts_keys_are_found_by_kind_in_any_grid() -> None:
    """In a grid with other keys in another order the ranks stay; a kind that an account lacks is `NO_KIND`."""
    siblings = SiblingReports(("today/ads", "last_7d/ads"))
    grid = grid_of(("b", "last_7d", "ads", 2), ("b", "last_90d", "ads", 1), ("a", "today", "ads", 2))
    keys = {(account, kind): key for key, (account, kind) in enumerate(_names(grid))}
    result = siblings.keys(grid)
    first, second = (int(grid.account[keys[name]]) for name in (("b", "last_7d/ads"), ("a", "today/ads")))
    assert result[first].tolist() == [NO_KIND, keys["b", "last_7d/ads"]]
    assert result[second].tolist() == [keys["a", "today/ads"], NO_KIND]
    rank = siblings.rank(grid)
    assert [rank[keys[name]] for name in (("b", "last_7d/ads"), ("b", "last_90d/ads"), ("a", "today/ads"))] == [
        1,
        NO_KIND,
        0,
    ]


def _names(grid: OpenGrid) -> list[tuple[str, str]]:
    accounts = ["a", "b"]
    return [
        (accounts[number], grid.report_kinds[kind])
        for number, kind in zip(grid.account.tolist(), grid.report_kind_of.tolist(), strict=True)
    ]
