"""`adwarm allow`: lifts denials."""

from .conftest import Adwarm


def test_allow_lifts_a_denial(adwarm: Adwarm) -> None:
    """A denied account is asked about again once it was allowed; one that was not denied is not named."""
    adwarm("warm", "act_1", "act_9", "--range", "yesterday")
    assert adwarm("allow", "act_9", "act_1", "--json").json == {"lifted": ["act_9"]}
    assert "none of them was denied" in adwarm("allow", "9").stdout
    assert adwarm("allow", "nonsense").exit_code == 1
