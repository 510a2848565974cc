"""A pattern is proposed for the paths that hold an account or the id of a dashboard, and only for those."""

import pytest

from adwarm.access_log.column_mapping import KEY_FIELDS
from adwarm.access_log.events import date_range_reader
from adwarm.access_log.named_groups import GroupPattern
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
        (["AdSpend/sheets/Account?Account=9&Period=7d", "AdSpend/sheets/Account?Account=8&Period=mtd"], "9", "7d"),
        (["Account=9&Period=7d", "Account=8&Period=mtd"], "9", "7d"),
        (["/v1.2/{a}/b?f[account.id]=[act_9]&p=7d", "/v1.2/{a}/b?p=mtd&f[account.id]=[act_8]"], "act_9", "7d"),
        (["/x?vars=%7B%22account%22%3A%22123456789%22%7D&p=7d"], "123456789", "7d"),
        (["/x?filter%5Baccount%5D=9&filter%5Brange%5D=7d"], "9", "7d"),
    ]:
        with subtests.test(paths=paths):
            proposed = _propose(paths)
            assert proposed is not None
            rows, groups = GroupPattern(proposed.pattern).read([*paths, "/login"])
            assert (groups["account_id"][0], groups.get("date_range", [None])[0]) == (account, date_range)
            assert proposed.is_account == (account != "sales-eu")
            assert rows == list(range(len([path for path in paths if path != "/login"])))


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
    assert GroupPattern(pattern.pattern).read(["/b/19?x=1", "/b/19x", "/b/19-a"])[0] == [0]
