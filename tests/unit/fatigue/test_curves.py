"""The curves: their anchors, monotonic, without jumps."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from adwarm.fatigue.usual import ALGORITHM_CURVE, AUDIENCE_CURVE, CREATIVE_CURVE, Curve

CURVES = st.sampled_from([CREATIVE_CURVE, AUDIENCE_CURVE, ALGORITHM_CURVE])
STEEPEST = 400.0


def test_the_curves_pass_through_their_anchors(subtests: pytest.Subtests) -> None:
    """Each anchor gives its score, and the ends are constant."""
    for curve, anchors in (
        (CREATIVE_CURVE, {-1: 0, 0: 0, 0.10: 20, 0.25: 60, 0.50: 90, 0.75: 100, 2: 100}),
        (AUDIENCE_CURVE, {0: 0, 1: 0, 2: 20, 3.5: 65, 5: 90, 8: 100, 30: 100}),
        (ALGORITHM_CURVE, {-0.5: 0, 0: 0, 0.10: 20, 0.20: 50, 0.40: 90, 0.80: 100, 9: 100}),
    ):
        with subtests.test(curve=curve, anchors=anchors):
            assert np.interp(np.array(list(anchors), float), *curve).tolist() == list(anchors.values())


@given(curve=CURVES, x=st.floats(-10, 40), step=st.floats(0, 5))
def test_a_worse_value_never_scores_lower(curve: Curve, x: float, step: float) -> None:
    """The curves never decrease, and stay within 0 and 100."""
    better, worse = np.interp(np.array([x, x + step]), *curve)
    assert 0 <= better <= worse + 1e-9 <= 100 + 1e-9


@given(curve=CURVES, x=st.floats(-10, 40), step=st.floats(0, 0.01))
def test_a_small_change_changes_little(curve: Curve, x: float, step: float) -> None:
    """The slope is bounded."""
    assert abs(np.diff(np.interp(np.array([x, x + step]), *curve))[0]) <= STEEPEST * step + 1e-6
