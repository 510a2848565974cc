"""A pattern is proposed for the paths that hold an account or the id of a dashboard, and only for those."""

import re

import pytest

from adwarm.access_log.column_mapping import KEY_FIELDS
from adwarm.access_log.events import date_range_reader
from adwarm.foundation.errors import BadRequest
from adwarm.log_check.path_patterns import PathPattern, propose_path_pattern

BOARDS = ["/dashboards/17/last_7d?token=x", "/dashboards/18/yesterday", "/login"]


def _is_range(text: str) -> bool:
    try:
        return bool(date_range_reader({"woche": "last_week"})(text))
    except BadRequest:
        return False


def _propose(paths: list[str], fields: tuple[str, ...] = KEY_FIELDS) -> PathPattern | None:
    return propose_path_pattern(paths, _is_range, fields)


def test_a_pattern_reads_the_paths_it_was_made_of(subtests: pytest.Subtests) -> None:
    """Account and range are found in the first path, wherever they stand; parts that vary may vary."""
    for paths, account, date_range in [
        (BOARDS, "17", "last_7d"),
        (["/act_5/report/Last%207%20Days"], "act_5", "Last%207%20Days"),
        (["/t/acme/7d/accounts/9/", "/t/other.co/mtd/accounts/8/"], "9", "7d"),
        (["https://a.example/?period=woche&account=9", "https://a.example/?account=8&period=7d"], "9", "woche"),
        (["GET /act_7?r=7d HTTP/1.1", "GET /act_8?r=mtd HTTP/1.1"], "act_7", "7d"),
        (["https://a.example/#/accounts/9?from=2026-01-01&to=2026-01-31"], "9", "2026-01-01&to=2026-01-31"),
        (["/api/dashboards/uid/sales-eu?x=1"], "sales-eu", None),
        (["https://bi.example/superset/dashboard/sales-eu/?x=1"], "sales-eu", None),
    ]:
        with subtests.test(paths=paths):
            proposed = _propose(paths)
            assert proposed is not None
            match = re.search(proposed.pattern, paths[0])
            assert match is not None
            assert (match["account_id"], match.groupdict().get("date_range")) == (account, date_range)
            assert proposed.is_account == (account != "sales-eu")
            assert not re.search(proposed.pattern, "/login")


def test_no_pattern_is_proposed_where_none_is_clear(subtests: pytest.Subtests) -> None:
    """Without a number or a dashboard, with two numbers, or with mostly unknown words there is none."""
    for paths in [[], ["/login", "/x?account=&range="], ["/org/4/a/17/last_7d"], ["/last_7d/17/yesterday"]]:
        with subtests.test(paths=paths):
            assert _propose(paths) is None


def test_a_range_that_some_paths_lack_is_optional() -> None:
    """Paths without it are read, too; with a range from elsewhere the account is enough."""
    proposed = _propose(["/act_5?tab=a&range=7d", "/act_6", "/act_7?range=mtd"])
    assert proposed is not None
    assert (proposed.matched, proposed.ranges) == (3, 2)
    pattern = _propose(["/b/17", "/b/18"], ("account_id",))
    assert pattern is not None
    assert re.search(pattern.pattern, "/b/19?x=1")
    assert not re.search(pattern.pattern, "/b/19x")
