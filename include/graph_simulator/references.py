"""References between the calls of a batch: `{result=name:$.data.*.id}` stands for what an earlier call answered."""

import re
from collections.abc import Mapping
from typing import Any

from graph_simulator.errors import bad_parameter

_REFERENCE = re.compile(r"\{result=([A-Za-z0-9_-]+):\$((?:\.[A-Za-z0-9_*-]+|\[(?:\d+|\*)\])+)\}")
_STEP = re.compile(r"\.([A-Za-z0-9_*-]+)|\[(\d+|\*)\]")


def references(text: str) -> set[str]:
    """Return the names of the calls that `text` refers to."""
    return {found[1] for found in _REFERENCE.finditer(text)}


def filled_in(text: str, answers: Mapping[str, Any]) -> str:
    """Return `text` with every reference replaced by the values it leads to, joined by commas.

    Raises:
        GraphError: it leads nowhere.
    """
    return _REFERENCE.sub(lambda found: _values(found[1], found[2], answers), text)


def _values(name: str, path: str, answers: Mapping[str, Any]) -> str:
    there = [answers[name]] if name in answers else []
    for step in _STEP.finditer(path):
        there = [value for item in there for value in _below(item, step[1] or step[2])]
    if not there:
        raise bad_parameter(f"Failed to resolve the reference to {name}{path}")
    return ",".join(str(value) for value in there)


def _below(item: Any, step: str) -> list[Any]:
    if step == "*":
        return list(item.values()) if isinstance(item, dict) else list(item) if isinstance(item, list) else []
    if isinstance(item, list):
        return [item[int(step)]] if step.isdecimal() and int(step) < len(item) else []
    return [item[step]] if isinstance(item, dict) and step in item else []
