"""`adwarm report`: the queries of reports, and the switch."""

import pytest

from .conftest import Adwarm


def test_a_changed_query_is_listed_and_switched(adwarm: Adwarm, monkeypatch: pytest.MonkeyPatch) -> None:
    """The new query is listed as preparing until it is switched; a second switch says that none is prepared."""
    assert [row["state"] for row in adwarm("report", "list", "--json").json] == ["active"]
    monkeypatch.setenv("ADWARM_REPORTS__DEFAULT__LEVEL", "campaign")
    rows = {row["level"]: row["state"] for row in adwarm("report", "list", "--json").json}
    assert rows == {"ad": "active", "campaign": "preparing"}
    assert "preparing" in adwarm("report", "list").stdout

    switched = adwarm("report", "switch", "default")
    rows = {row["level"]: row["state"] for row in adwarm("report", "list", "--json").json}
    again = adwarm("report", "switch", "default")

    assert (switched.exit_code, rows) == (0, {"ad": "retired", "campaign": "active"})
    assert (again.exit_code, "adwarm report list" in again.stderr) == (1, True)


def test_the_sql_of_a_report_is_printed(adwarm: Adwarm) -> None:
    """The script attaches the database of this home; a report that is not configured is refused."""
    printed, refused = adwarm("report", "list", "--sql", "default"), adwarm("report", "list", "--sql", "unknown")
    assert printed.stdout.startswith("ATTACH '")
    assert "/adwarm.db' AS adwarm (TYPE sqlite" in printed.stdout
    assert (printed.exit_code, refused.exit_code, refused.stdout) == (0, 1, "")
