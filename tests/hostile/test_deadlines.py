"""An upstream without an end holds an account for its time at most, and gets few calls."""

import pytest

from tests.hostile.behaviors import Behavior
from tests.hostile.deadlines import BEHAVIORS, SPARE_SECONDS, hold

CALL_SECONDS, ACCOUNT_SECONDS = 1.5, 12.0
MOST_CALLS = {
    "slow_body": 2,
    "slow_head": 6,
    "stall": 6,
    "endless_chunks": 6,
    "endless_cursors": 125,
    "report_creeps": 20,
}
"""Account, page, and where the page was not answered in time: submit, polls, and one page of the report."""


@pytest.mark.parametrize("behavior", BEHAVIORS, ids=lambda behavior: behavior.name)
def test_an_upstream_without_an_end_is_given_up(behavior: Behavior) -> None:
    """Each way to go on forever ends within the account's time, after few calls, and the outcome says why."""
    held = hold(behavior, CALL_SECONDS, ACCOUNT_SECONDS)
    assert held.status in {"failed", "parked"}
    assert held.seconds < ACCOUNT_SECONDS + SPARE_SECONDS
    assert held.calls <= MOST_CALLS[held.what]
    if held.what == "slow_body":
        assert held.seconds < CALL_SECONDS + SPARE_SECONDS
    if held.what == "endless_cursors":
        assert "pages that are not full" in held.reason
    if held.what == "report_creeps":
        assert "is running" in held.reason
