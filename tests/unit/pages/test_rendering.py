"""How the page writes errors and texts with code."""

import pytest

from adwarm.pages.rendering import format_code, format_error_kind


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
