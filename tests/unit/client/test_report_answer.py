"""How an answer came: Cache-Status of one or several caches, and what malformed headers say."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.model import ReportKey
from adwarm.serving.http_headers import cache_status
from adwarm_client.exchange import ApiResponse
from adwarm_client.report_answer import make_answer, read_cache_status

KEY = ReportKey("act_1", "last_7d")


def test_the_status_is_what_adwarm_wrote(subtests: pytest.Subtests) -> None:
    """Other caches on the way have no influence."""
    for header, status, ttl in [
        (cache_status("k", 376), "hit", 376),
        (cache_status("k", -412), "stale", -412),
        (cache_status("k", None), "hit", None),
        (cache_status("k", None, is_miss=True), "miss", None),
        (cache_status("k", 9, is_miss=True, is_stored=True), "miss", 9),
        (f"cdn; fwd=miss, {cache_status('a, adwarm; b', 5)}", "hit", 5),
        (f'{cache_status("k", 5)}, cdn; hit; ttl=-3; detail="x, y"', "hit", 5),
        ("", "miss", None),
        ("cdn; hit", "miss", None),
        ("adwarm; hit; ttl=soon", "hit", None),
    ]:
        with subtests.test(header=header, status=status, ttl=ttl):
            answer = make_answer(KEY, ApiResponse(200, {"cache-status": header}, b""), b"{}", "application/json")
            assert (answer.status, answer.ttl_seconds, answer.age_seconds) == (status, ttl, None)


@given(header=st.text(max_size=200))
def test_any_header_is_parsed(header: str) -> None:
    """A proxy's header never raises."""
    assert isinstance(read_cache_status(header), dict)
    read_cache_status(f"adwarm; hit; ttl=5{header}")


def test_a_long_malformed_header_takes_no_time() -> None:
    """Each parameter can be read in one way only, so a fault at the end is not searched for in every combination."""
    assert read_cache_status("adwarm" + '; a="x"' * 5_000 + '; b="') == {}


def test_its_representation_has_no_data() -> None:
    """Printing an answer prints no document."""
    answer = make_answer(KEY, ApiResponse(200, {}, b"12345"), b'{"secret": 1}', "application/json")
    assert repr(answer) == "ReportAnswer(act_1 last_7d, miss, identity, 5 bytes)"
