"""Plotly, which draws the plots in HTML files. It comes with the extra `replay`."""

from importlib.util import find_spec
from typing import Any, Final, NamedTuple

from adwarm.foundation.errors import BadRequest

NO_PLOTLY: Final = "plots need plotly, which is not installed; run pip install 'adwarm[replay]'"


class Plotly(NamedTuple):
    """The modules of plotly that draw a page."""

    graph_objects: Any
    offline: Any
    subplots: Any


def has_plotly() -> bool:
    """Return whether plotly is installed. Imports nothing."""
    return find_spec("plotly") is not None


def load_plotly() -> Plotly:
    """Return plotly's modules.

    Raises:
        BadRequest: plotly is not installed; the message says what to install.
    """
    if not has_plotly():
        raise BadRequest(NO_PLOTLY, code="no_plotly")
    from plotly import graph_objects, offline, subplots

    return Plotly(graph_objects, offline, subplots)
