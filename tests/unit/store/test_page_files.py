"""Pages for humans."""

from pathlib import Path

import pytest

from adwarm.foundation.errors import BadRequest
from adwarm.store.page_files import PageFolder


def test_a_page_is_written_and_read(tmp_path: Path) -> None:
    """The path is returned, the bytes are complete, and writing again replaces them."""
    folder = PageFolder(str(tmp_path))
    folder.write("review-1.html", b"old")
    path = folder.write("review-1.html", b"new")
    assert Path(path) == tmp_path / "reports" / "review-1.html"
    assert folder.read("review-1.html") == b"new"
    assert [found.name for found in (tmp_path / "reports").iterdir()] == ["review-1.html"]


def test_a_url_is_a_folder_too() -> None:
    """Any fsspec URL works."""
    folder = PageFolder("memory://adwarm-reports")
    assert folder.write("review-1.json", b"{}") == "memory://adwarm-reports/reports/review-1.json"
    assert folder.read("review-1.json") == b"{}"


@pytest.mark.parametrize("name", ["../x.html", "a/b.html", "x.exe", "", ".html", "A.html"])
def test_other_names_are_refused(tmp_path: Path, name: str) -> None:
    """No name leads out of the folder."""
    with pytest.raises(BadRequest, match="name"):
        PageFolder(str(tmp_path)).write(name, b"")
