"""The settings page: every environment variable with its default, bounds and meaning."""

import json
import types
from collections.abc import Iterator
from typing import Any, Literal, Union, get_args, get_origin

from pydantic import BaseModel
from pydantic.fields import FieldInfo
from pydantic_core import PydanticUndefined, to_jsonable_python

from adwarm.settings import Settings
from reference_pages.markdown import NOTICE, described, table

INTRO = """# Settings

Every setting is an environment variable. Two underscores separate a section from its setting:
`ADWARM_PLANNING__MIN_CONFIDENCE=0.3`. The same names, in lower case and without the prefix, can be set in a TOML file
named by `ADWARM_CONFIG`; a variable overrides the file. Write lists and tables as JSON in a variable. An empty variable
counts as unset. An invalid value stops the process with a message that names the variable. So does a variable with the
prefix `ADWARM_`, or a key of the file, that is not a setting; the message gives the nearest name.

`ADWARM_SECRETS_HOOK=package.module:function` names a function of yours that returns settings as nested mappings, such
as `{"source": {"access_token": "..."}}` from a vault. Variables and the file override it.

```toml
# ADWARM_CONFIG=/etc/adwarm.toml
default_zone = "Europe/Berlin"

[planning]
min_confidence = 0.3

[reports.campaigns]          # a second report: opened as `report=campaigns`
level = "campaign"
```

## Home

Database and objects are files in one folder, the home, unless `ADWARM_DATABASE_URL` and `ADWARM_DATA_URL` name other
places. The home is

1. `ADWARM_HOME`, or `home` in the file. `~` is expanded. A relative path gives a warning: each working folder would
   have a home of its own;
2. else the folder `adwarm` in `AIRFLOW_HOME`, when that variable is set;
3. else the user's data folder: `~/.local/share/adwarm` on Linux, `~/Library/Application Support/adwarm` on macOS.

Airflow's processes and the `adwarm` command share a home when both have the same `AIRFLOW_HOME` or `ADWARM_HOME`, or
neither. Only its user can read a new home. `adwarm doctor` names the home in use and the rule that chose it, with a
note when the home is new or relative. Earlier versions used `.adwarm` in the working folder: the doctor notes one that
lies there, and you can set `ADWARM_HOME` to it, or move its contents.

"""

CONNECTIONS = """## Connections

Further tokens, each with its own accounts: `ADWARM_CONNECTIONS__NAME__ACCESS_TOKEN` and the other settings that differ.
`NAME` is the name of the connection. Every variable of [Source](#source) is allowed; an unset one has the value that
`ADWARM_SOURCE__` has."""


def page() -> str:
    """Return the settings page.

    Raises:
        Undocumented: a setting has no description.
    """
    parts: list[str] = ["## General\n\n" + _rows(Settings, "ADWARM_")]
    for name, field in Settings.model_fields.items():
        if (model := _section(field)) is not None:
            title = f"## {name.replace('_', ' ').capitalize()}\n\n{_first_line(model)}\n\n"
            parts.append(title + _rows(model, f"ADWARM_{name.upper()}__"))
    report = get_args(Settings.model_fields["reports"].annotation)[1]
    intro = f"## Reports\n\n{_first_line(report)} `NAME` is the name of the report.\n\n"
    parts.append(intro + _rows(report, "ADWARM_REPORTS__NAME__"))
    parts.append(CONNECTIONS)
    return NOTICE + INTRO + "\n\n".join(parts) + "\n"


def _first_line(model: type[BaseModel]) -> str:
    return (model.__doc__ or "").strip().splitlines()[0]


def _section(field: FieldInfo) -> type[BaseModel] | None:
    kind = field.annotation
    return kind if isinstance(kind, type) and issubclass(kind, BaseModel) else None


def _rows(model: type[BaseModel], prefix: str) -> str:
    plain = {f"{prefix}{name.upper()}": field for name, field in model.model_fields.items() if _is_plain(field)}
    texts = described("settings", {name: field.description or "" for name, field in plain.items()})
    rows = [(f"`{name}`", _default(field), _allowed(field), texts[name]) for name, field in plain.items()]
    return table(("variable", "default", "allowed", "meaning"), rows)


def _is_plain(field: FieldInfo) -> bool:
    if get_origin(field.annotation) is dict:
        kind = get_args(field.annotation)[1]
        return kind is str or get_origin(kind) is tuple
    return _section(field) is None


def _default(field: FieldInfo) -> str:
    default = field.default
    if default is None or default is PydanticUndefined:
        return ""
    if isinstance(default, tuple) and any(isinstance(item, BaseModel) for item in default):
        return f"{len(default)} of them"  # the pages about them show them
    text = json.dumps(to_jsonable_python(default)) if isinstance(default, tuple | list | bool | dict) else str(default)
    return f"`{text}`"


def _allowed(field: FieldInfo) -> str:
    choices = [choice for kind in _kinds(field.annotation) for choice in get_args(kind) if get_origin(kind) is Literal]
    if choices:
        return ", ".join(f"`{choice}`" for choice in choices)
    signs = (("ge", "≥"), ("gt", ">"), ("le", "≤"), ("lt", "<"))
    bounds = [f"{sign} {getattr(rule, name)}" for rule in field.metadata for name, sign in signs if hasattr(rule, name)]
    return " and ".join(bounds) or ", ".join(_kind_name(kind) for kind in _kinds(field.annotation))


def _kinds(annotation: Any) -> Iterator[Any]:
    if get_origin(annotation) in {Union, types.UnionType}:
        yield from (kind for kind in get_args(annotation) if kind is not type(None))
    else:
        yield annotation


def _kind_name(kind: Any) -> str:
    names = {"str": "text", "SecretStr": "secret", "Path": "path", "int": "integer", "float": "number"}
    if get_origin(kind) is tuple:
        return "list of " + ("numbers" if float in get_args(kind) else "texts")
    return "texts by name" if get_origin(kind) is dict else names.get(getattr(kind, "__name__", ""), "text")
