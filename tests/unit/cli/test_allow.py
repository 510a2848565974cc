"""`adwarm allow`: lifts denials."""

from .conftest import Adwarm


def test_allow_lifts_a_denial(adwarm: Adwarm) -> None:
    """The denial of a denied account is lifted; an account that was not denied is not listed."""
    adwarm("warm", "act_1", "act_9", "--range", "yesterday")
    assert adwarm("allow", "act_9", "act_1", "--json").json == {"lifted": ["act_9"]}
    adwarm("warm", "act_9", "--range", "yesterday")
    assert adwarm("allow", "act_9").stdout == "act_9 is tried again\n"
    assert "none of them was denied" in adwarm("allow", "9").stdout
    assert adwarm("allow", "nonsense").exit_code == 1
