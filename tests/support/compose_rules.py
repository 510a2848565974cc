"""What `docker compose config` makes of a service's environment: env files, interpolation and their precedence.

Written after the Compose Specification: a file's variables are overridden by `environment`, which may interpolate the
variables of the shell and of the project's `.env`; the shell wins over the file.
"""

import re
from collections.abc import Mapping
from io import StringIO
from typing import Any

from dotenv.parser import parse_stream

_NAME = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")


class MissingVariable(Exception):
    """A required variable, `${NAME:?message}`, is not set."""


def parse_env_file(text: str, shell: Mapping[str, str]) -> dict[str, str]:
    """Return the variables of an env file. Values in single quotes are literal; in others variables are expanded."""
    found: dict[str, str] = {}
    for binding in parse_stream(StringIO(text)):
        assert not binding.error, f"line {binding.original.line} is not an assignment"
        if binding.key is not None:
            value = binding.value or ""
            is_literal = binding.original.string.partition("=")[2].lstrip().startswith("'")
            found[binding.key] = value if is_literal else interpolate(value, {**found, **shell})
    return found


def interpolate(text: str, variables: Mapping[str, str]) -> str:
    """Expand `$NAME`, `${NAME}` and `${NAME:-default}`, nested ones too; `$$` is a dollar sign.

    Raises:
        MissingVariable: for `${NAME:?message}` without the variable.
    """
    parts, position = [], 0
    while (start := text.find("$", position)) >= 0:
        parts.append(text[position:start])
        rest = text[start + 1 :]
        if rest.startswith("$"):
            parts.append("$")
            position = start + 2
        elif rest.startswith("{"):
            end = _closing_brace(text, start + 1)
            parts.append(_expand(text[start + 2 : end], variables))
            position = end + 1
        elif name := _NAME.match(rest):
            parts.append(variables.get(name[0], ""))
            position = start + 1 + name.end()
        else:
            parts.append("$")
            position = start + 1
    return "".join([*parts, text[position:]])


def _closing_brace(text: str, start: int) -> int:
    depth = 0
    for position in range(start, len(text)):
        depth += {"{": 1, "}": -1}.get(text[position], 0)
        if depth == 0:
            return position
    raise ValueError(f"{text!r} has no closing brace")


def _expand(expression: str, variables: Mapping[str, str]) -> str:
    name = _NAME.match(expression)
    assert name, f"{expression!r} starts with no name"
    operator, value = expression[name.end() :], variables.get(name[0])
    if not operator:
        return value or ""
    empty_counts = operator.startswith(":")
    kind, argument = operator.removeprefix(":")[0], operator.removeprefix(":")[1:]
    is_set = bool(value) if empty_counts else value is not None
    if kind == "?" and not is_set:
        raise MissingVariable(f"{name[0]}: {argument}")
    if kind == "+":
        return interpolate(argument, variables) if is_set else ""
    return (value or "") if is_set else interpolate(argument, variables)


def service_environment(
    service: Mapping[str, Any], files: Mapping[str, str], shell: Mapping[str, str]
) -> dict[str, str]:
    """Return the variables of a service's containers.

    Args:
        service: the service as YAML gives it.
        files: texts of the env files by path; `.env` is the project's.
        shell: variables of the shell that calls compose.
    """
    project = {**parse_env_file(files.get(".env", ""), shell), **shell}
    found: dict[str, str] = {}
    for item in service.get("env_file", []):
        path = interpolate(item["path"], project)
        assert path in files or not item.get("required", True), f"{path} is missing"
        found |= parse_env_file(files.get(path, ""), project)
    for name, value in service.get("environment", {}).items():
        if value is None and name not in project:
            found.pop(name, None)
        else:
            found[name] = project[name] if value is None else interpolate(str(value), project)
    return found
