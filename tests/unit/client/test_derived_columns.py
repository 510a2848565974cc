"""Ratios are computed exactly, the same in Python and in TypeScript, whose tests read the same file."""

from fractions import Fraction
from pathlib import Path
from typing import Any

import orjson
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm_client.derived_columns import FORMULAS, Ratio, compute_column, divide

SHARED: dict[str, list[Any]] = orjson.loads(
    (Path(__file__).resolve().parents[3] / "clients/typescript/tests/ratios.json").read_bytes()
)
NUMBERS = st.one_of(
    st.from_regex(r"[0-9]{1,15}", fullmatch=True),
    st.from_regex(r"[0-9]{1,11}\.[0-9]{1,7}", fullmatch=True),
    st.sampled_from([None, "", "-1", "1e3", "1.", ".5", "٣", " 1", "1_0"]),
)


def _exact(dividend: str | None, divisor: str | None, times: int) -> str | None:
    """Return the ratio by fractions, which are never rounded."""
    numbers = []
    for text in (dividend, divisor):
        whole, _, fraction = (text or "-").partition(".")
        digits = whole + fraction
        is_number = digits.isascii() and digits.isdigit() and whole != "" and text != f"{whole}."
        if not is_number or len(digits) > 15 or len(fraction) > 6:
            return None
        numbers.append(Fraction(text or ""))
    if not numbers[1]:
        return None
    millionths = int(numbers[0] * times * 10**6 / numbers[1] + Fraction(1, 2))
    text = f"{millionths // 10**6}.{millionths % 10**6:06d}".rstrip("0").rstrip(".")
    return text if millionths < 10**15 else None


def test_the_shared_ratios() -> None:
    """Ties, zeros, missing numbers, other texts and too many digits; the fractions of this test agree."""
    for dividend, divisor, times, expected in SHARED["ratios"]:
        assert divide([dividend], [divisor], times) == [_exact(dividend, divisor, times)] == [expected]


@given(st.lists(st.tuples(NUMBERS, NUMBERS), max_size=20), st.sampled_from([1, 100, 1000]))
def test_any_ratio_is_exact(pairs: list[tuple[str | None, str | None]], times: int) -> None:
    """Whatever else a column holds, a row's ratio is that of its own numbers, to the last digit."""
    dividends, divisors = [above for above, _ in pairs], [below for _, below in pairs]
    assert divide(dividends, divisors, times) == [_exact(*pair, times) for pair in pairs]


def test_the_formulas_give_what_the_platform_sent() -> None:
    """Each ratio of recorded answers, and each cost of an action, but one click-through rate."""
    rows = SHARED["rows"]
    columns = {name: [row.get(name) for row in rows] for name in set().union(*rows)}
    other = {}
    for name in sorted(columns.keys() & FORMULAS.keys() - {"cost_per_action_type"}):
        found = compute_column(columns, FORMULAS[name])
        other[name] = [row for row, text in enumerate(columns[name]) if text not in {None, found[row]}]
    assert other == {"cpc": [], "cpm": [], "cpp": [], "ctr": [10], "frequency": []}
    costs = 0
    for row in filter(lambda row: "actions" in row, rows):
        types = [item["action_type"] for item in row["cost_per_action_type"]]
        own = {name: [row[name]] for name in ("spend", "actions")}
        assert compute_column(own, FORMULAS["cost_per_action_type"], types) == [row["cost_per_action_type"]]
        costs += len(types)
    assert costs > 50


def test_lists_with_a_quotient_per_figure(subtests: pytest.Subtests) -> None:
    """Windows and nested results have one too; a list with another value, or a figure without one, has no ratio."""
    item = {"action_type": "buy", "value": "2"}
    divided = {"action_type": "buy", "value": "2.5"}
    for types, cell, expected in [
        (None, [item], [divided]),
        (["buy"], [{"action_type": "see", "value": "x"}, item], [divided]),
        (["buy", "see"], [{"action_type": "see", "7d_click": "4", "to": "7"}, item],
         [divided, {"action_type": "see", "7d_click": "1.25", "to": "7"}]),
        (None, [{"of": "buy", "values": [{"value": "2", "windows": ["a"]}]}, {"of": "see", "values": []}],
         [{"of": "buy", "values": [{"value": "2.5", "windows": ["a"]}]}, {"of": "see", "values": []}]),
        (["see"], [item], None),
        (["buy"], [item, item], None),
        (["buy"], [item, {"action_type": 1}], None),
        (None, [{"action_type": "buy", "value": "0"}, item], None),
        (None, [{"action_type": "buy", "value": 2}], None),
        (None, [{"action_type": "buy", "value": None, "more": "1"}], None),
        (None, [item, 3], None),
        (None, [], None),
        (None, None, None),
        (None, "2", None),
    ]:  # fmt: skip
        with subtests.test(types=types, cell=cell):
            columns = {"spend": ["1", "5.00"], "actions": [[item], cell]}
            assert compute_column(columns, Ratio("spend", "actions"), types)[1] == expected
