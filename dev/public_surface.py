"""Writes docs/reference/public-surface.txt: every name that the deprecation policy covers, one per line.

A test compares the file with the code, so that a removal or a changed signature is a line of a diff.
"""

import inspect
import json
import sys
import tomllib
from collections.abc import Iterator
from enum import Enum
from typing import Any

import typer
from pydantic import BaseModel

import adwarm
from adwarm.cli.app import app
from adwarm.foundation.telemetry import METRICS
from adwarm.settings import OTHER_VARIABLES, Settings
from adwarm.store.tables import metadata
from dev.locked import ROOT

SURFACE = ROOT / "docs" / "reference" / "public-surface.txt"


def list_surface() -> list[str]:
    """Return the lines of the file."""
    return [
        *_python(),
        *_settings(),
        *_commands("adwarm", typer.main.get_command(app)),
        *_http(),
        *_metrics(),
        *_tables(),
    ]


def _python() -> Iterator[str]:
    for name in sorted(adwarm.__all__):
        value = getattr(adwarm, name)
        yield f"python {name}{_signature(value)}"
        if inspect.isclass(value) and not issubclass(value, BaseModel):
            members = sorted(member for member in vars(value) if not member.startswith("_"))
            yield from (f"python {name}.{member}{_signature(vars(value)[member])}" for member in members)


def _signature(value: Any) -> str:
    """Return the names of the parameters and which have a default; types are in the reference.

    Errors, models and enumerations are made in ways of the libraries, which differ between releases.
    """
    function = value.__func__ if isinstance(value, classmethod | staticmethod) else value
    if not callable(function) or (inspect.isclass(function) and issubclass(function, Exception | BaseModel | Enum)):
        return ""
    try:
        parameters = inspect.signature(function).parameters.values()
    except ValueError:
        return ""
    return "(" + ", ".join(f"{p.name}=" if p.default is not p.empty else str(p).split(":")[0] for p in parameters) + ")"


def _settings() -> Iterator[str]:
    names = set(OTHER_VARIABLES)
    for name, field in Settings.model_fields.items():
        section = field.annotation
        if isinstance(section, type) and issubclass(section, BaseModel):
            names |= {f"ADWARM_{name}__{inner}".upper() for inner in section.model_fields}
        else:
            names.add(f"ADWARM_{name}".upper())
    yield from (f"setting {name}" for name in sorted(names))


def _commands(name: str, command: Any) -> Iterator[str]:
    options = sorted(option for item in command.params for option in item.opts if option.startswith("--"))
    arguments = [item.name.upper() for item in command.params if item.param_type_name == "argument"]
    yield " ".join(("command", name, *arguments, *options))
    for child, item in sorted(getattr(command, "commands", {}).items()):
        yield from _commands(f"{name} {child}", item)


def _http() -> Iterator[str]:
    paths = json.loads((ROOT / "docs/reference/openapi.json").read_text(encoding="utf-8"))["paths"]
    for path, operations in sorted(paths.items()):
        for method, operation in sorted(operations.items()):
            names = sorted(item["name"] for item in operation.get("parameters", ()) if "name" in item)
            yield " ".join(("http", method.upper(), path, *names))


def _metrics() -> Iterator[str]:
    yield from sorted(f"metric {metric.name}" for metric in METRICS)


def _tables() -> Iterator[str]:
    described = tomllib.loads((ROOT / "docs/reference_pages/tables.toml").read_text(encoding="utf-8"))
    for name, text in sorted(described.items()):
        if "BI tools" in text.get("table", ""):
            yield " ".join(("table", name, *sorted(column.name for column in metadata.tables[name].columns)))


def main() -> int:
    """Write the file."""
    SURFACE.write_text("\n".join(list_surface()) + "\n", encoding="utf-8")
    print(f"wrote {SURFACE.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
