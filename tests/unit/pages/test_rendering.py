"""How the page writes errors, numbers and texts with code, and which tiles it explains."""

import pytest

from adwarm.pages.rendering import format_code, format_error_kind, format_number, get_environment
from adwarm.pages.views import TABS


@pytest.mark.parametrize(
    ("kind", "words"),
    [("Throttled", "quota used up"), ("Transient", "temporary failure"), ("TooMuchData", "too much data"), ("", "")],
)
def test_classes_of_errors_are_words(kind: str, words: str) -> None:
    """Common classes have words of their own; any other one is split into its words."""
    assert format_error_kind(kind) == words


@pytest.mark.parametrize(
    ("text", "html"),
    [
        ("run `adwarm gate list` then", "run <code>adwarm gate list</code> then"),
        ("<b> `<i>` & more", "&lt;b&gt; <code>&lt;i&gt;</code> &amp; more"),
        ("an odd ` <b>", "an odd ` &lt;b&gt;"),
    ],
)
def test_what_stands_between_backticks_is_code(text: str, html: str) -> None:
    """Every part is escaped; a text whose backticks do not pair stays as it is."""
    assert str(format_code(text)) == html


def test_nothing_is_less_than_zero_by_rounding() -> None:
    """A number that rounds to 0 has no sign."""
    assert (format_number(-0.04, 1), format_number(-0.4), format_number(-1.26, 1)) == ("0.0", "0", "-1.3")


def test_every_explanation_belongs_to_a_tile() -> None:
    """What stands behind a "?" is of a tile that there is."""
    explained = set(get_environment().get_template("help.html").module.HELP)  # type: ignore[attr-defined]
    assert explained <= {f"{tab.name}/{tile.name}" for tab in TABS for tile in tab.tiles}
