"""A pattern is proposed for lines that are neither JSON nor delimited nor of a web server's usual format."""

import pytest

from adwarm.access_log.named_groups import GroupPattern
from adwarm.log_check.line_patterns import propose_lines
from adwarm.settings import AccessLogSettings

LINES = [
    ("2026-03-02 10:00:0{0},123 INFO [web-{0}] user {0} opened act_{0} last_7d", "2026-03-02 10:00:01,123"),
    (
        '{0} Mon, 02 Mar 2026 10:00:0{0} GMT "GET /a/act_{0}/last_7d HTTP/2" 200 "x y {0}"',
        "Mon, 02 Mar 2026 10:00:01 GMT",
    ),
    ("02.03.2026 10:00:0{0} | konto=act_{0} | zeitraum=last_7d", "02.03.2026 10:00:01"),
    ('level=info id={0} url="/r?period=last_7d&account=act_{0}" at=177244560{0}.5', "1772445601.5"),
    ("[{0}] status=200 ts=2026-03-02T10:00:0{0}Z event=view account_id=act_{0} preset=last_7d", "2026-03-02T10:00:01Z"),
]


@pytest.mark.parametrize(("line", "time"), LINES)
def test_a_pattern_reads_the_lines_it_was_made_of(line: str, time: str) -> None:
    """Time, account and range are found by their key or their place, whatever stands between them; others are not."""
    texts = [line.format(n) for n in range(1, 9)]
    proposal = propose_lines([*texts, "started", "Traceback (most recent call last):"], AccessLogSettings())
    assert proposal is not None
    rows, groups = GroupPattern(proposal.values["pattern"]).read([*texts, "started"])
    assert rows == list(range(8))
    assert (groups["ts"][0], groups["account_id"]) == (time, [f"act_{n}" for n in range(1, 9)])
    assert set(groups["date_range"]) == {"last_7d"}
    assert proposal.notes[0] == "a pattern that reads 8 of 10 lines seen is in the command below"


def test_no_pattern_is_proposed_without_a_time_or_an_account() -> None:
    """Prose, and lines that name nobody, get none."""
    assert propose_lines(["a b c", "d e f"], AccessLogSettings()) is None
    assert propose_lines(["2026-03-02 10:00:00 started", "2026-03-02 10:00:01 stopped"], AccessLogSettings()) is None
