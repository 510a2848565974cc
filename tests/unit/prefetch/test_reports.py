"""Reports made in the background, through the engine and against the simulated platform."""

from tests.unit.prefetch.conftest import LONG, Staging


def test_a_long_span_goes_as_a_report(staging: Staging) -> None:
    """A span of many days is submitted once, looked at a few times, read, and equal to the platform's own rows."""
    report = staging.run("act_1")
    assert [str(outcome.status) for outcome in report.outcomes] == ["fetched"]
    assert len(staging.calls("submit")) == 1
    assert staging.rows("act_1") == staging.truth("act_1")
    assert len(LONG) == 85
