"""`adwarm bench compression`."""

from .conftest import Adwarm


def test_codecs_are_compared_on_stored_reports(adwarm: Adwarm) -> None:
    """Without a stored report the error says what to do; with one there is a table with an advice, and a document."""
    empty = adwarm("bench", "compression", "--json")
    assert (empty.exit_code, empty.json["kind"]) == (1, "NotFound")
    adwarm("warm", "act_1", "--range", "last_30d")

    shown = adwarm("bench", "compression", "--seconds", "2")
    document = adwarm("bench", "compression", "--seconds", "2", "--json").json

    assert all(text in shown.stdout for text in ("zstd-19", "brotli-11", "compress ms", "Advice: at 1 read"))
    assert (document["documents"], document["current"]) == (1, "zstd-6")
    assert {"zstd-6", document["advised"]} <= {item["setting"] for item in document["settings"]}
    assert all(0 < item["ratio"] < 1.1 for item in document["settings"])
