"""Writes settings of Airflow as shell commands, as a file of variables or as options, also into an existing file."""

import re
import shlex
from collections.abc import Callable, Mapping

_SAFE = re.compile(r"[\w@%+=:,./-]*", re.ASCII)


def shell_line(name: str, value: str) -> str:
    """Return the command that exports a variable."""
    return f"export {name}={shlex.quote(value)}"


def variable_line(name: str, value: str) -> str:
    """Return a line of a file that Docker Compose, systemd and shells read alike."""
    return f"{name}={value}" if _SAFE.fullmatch(value) else f"{name}={shlex.quote(value)}"


def parse_variables(text: str) -> dict[str, str]:
    """Return the variables that lines of a file set; a line that is none is left out."""
    variables = {}
    for item in text.splitlines():
        name, sign, value = item.removeprefix("export ").partition("=")
        if sign and name.strip().isidentifier():
            try:
                variables[name.strip()] = "".join(shlex.split(value, comments=True))
            except ValueError:  # an open quote: a value of several lines, which no setting here has
                continue
    return variables


def set_variables(text: str, variables: Mapping[str, str], line: Callable[[str, str], str]) -> str:
    """Return `text` with each variable in it set: on its own line where it has one, else at the end.

    Args:
        text: lines `NAME=value`, also with `export`; empty for a new file.
        variables: the values by name.
        line: `shell_line` or `variable_line`.
    """
    missing = dict(variables)
    lines = []
    for old in text.splitlines():
        name = old.removeprefix("export ").partition("=")[0].strip()
        if name in variables:
            if name in missing:
                lines.append(line(name, missing.pop(name)))
        else:
            lines.append(old)
    return "".join(f"{item}\n" for item in [*lines, *(line(name, value) for name, value in missing.items())])


def set_options(text: str, options: Mapping[tuple[str, str], str]) -> str:
    """Return the text of an `airflow.cfg` with each option set; everything else, also comments, stays as it is.

    Args:
        text: the file; empty for a new one.
        options: values by section and name.
    """
    for (section, name), value in options.items():
        text = _set_option(text, section, f"{name} = {value.replace('%', '%%')}")
    return text


def _set_option(text: str, section: str, option: str) -> str:
    lines = text.splitlines()
    header = next((n for n, item in enumerate(lines) if item.strip() == f"[{section}]"), None)
    if header is None:
        before = [*lines, ""] if lines and lines[-1].strip() else lines
        return "".join(f"{item}\n" for item in [*before, f"[{section}]", option])
    end = next((n for n in range(header + 1, len(lines)) if lines[n].startswith("[")), len(lines))
    name = option.partition(" = ")[0]
    found = [n for n in range(header + 1, end) if re.match(rf"{name}\s*[=:]", lines[n])]
    if not found:
        lines.insert(header + 1, option)
    else:
        rest = found[0] + 1
        while rest < end and lines[rest][:1].isspace() and lines[rest].strip():  # a value may go on, indented
            rest += 1
        lines[found[0] : rest] = [option]
    return "".join(f"{item}\n" for item in lines)
