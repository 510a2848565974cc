"""What the deprecation policy covers is written down, so that a removal is a line of a diff."""

from dev.public_surface import SURFACE, list_surface


def test_the_public_surface_is_written_down() -> None:
    """Names, commands, settings, routes, metrics and tables are those of the file; `make surface` writes it anew."""
    assert list_surface() == SURFACE.read_text(encoding="utf-8").splitlines()
