"""Account ids of any platform: one form for each account, no two mixed up, nothing else accepted."""

from adwarm_client.keys import find_account_id, normalize_account_id, spell_account_id

IDS = (
    "3f2504e0-4f89-11d3-9a0c-0305e82c3301",
    *("t2_abc", "T2_ABC", "18ce54d4x5t", "18e54", "google_ads:123-456-7890", "a.b", "act_7", "act_"),
)


def test_an_id_is_what_its_platform_calls_it() -> None:
    """Ids stay as they are, digits are Meta's, and case tells accounts apart."""
    assert [normalize_account_id(text) for text in IDS] == [*IDS]
    assert {normalize_account_id(text) for text in ("7", "act_7", " 7 ")} == {"act_7"}
    assert [normalize_account_id("7", stored) for stored in (["7"], ["7", "act_7"], ["act_7"])] == ["7", "7", "act_7"]
    assert [normalize_account_id("7", stored, is_meta=False) for stored in ([], ["act_7"])] == ["7", "act_7"]
    assert find_account_id("x" * 64) == "x" * 64
    for text in ("../etc", "%2e%2e", "act_1\0", '"t2"', "'", "a b", "x" * 65, "all", ""):
        assert find_account_id(text) is None, text


def test_a_table_may_write_an_id_in_two_ways() -> None:
    """Only Meta's have a second spelling; digits of another platform, and a word behind `act_`, have one."""
    assert spell_account_id("act_7") == ["7", "act_7"]
    assert [spell_account_id(text) for text in ("act_abc", "t2_abc", "7")] == [["act_abc"], ["t2_abc"], ["7"]]
