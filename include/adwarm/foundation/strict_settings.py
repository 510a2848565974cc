"""Loads a settings model strictly: a name that is not a setting is refused, with the name that was probably meant.

Messages name variables and never contain a value, which may be a secret.
"""

import json
import re
from collections.abc import Collection, Iterator, Mapping
from difflib import get_close_matches
from pathlib import Path
from typing import Any, TypeVar, get_args, get_origin

from pydantic import BaseModel, ValidationError
from pydantic_core import ErrorDetails
from pydantic_settings import BaseSettings, SettingsError

from adwarm.foundation.errors import BadRequest

ModelT = TypeVar("ModelT", bound=BaseSettings)

_SIMILARITY = 0.7
_COLLECTIONS = (tuple, list, dict)
_SERVICE_LINK = re.compile(
    r"\w+_(SERVICE_HOST|SERVICE_PORT(_\w+)?|PORT(_\d+_(TCP|UDP|SCTP)(_(ADDR|PORT|PROTO))?)?)", re.ASCII
)
"""What Kubernetes adds to every container for a service in its namespace: `ADWARM_API_SERVICE_HOST` and so on."""


class SettingNames:
    """Names of the settings of `model`: fields, and fields of its sections after two underscores.

    Args:
        model: a model whose fields are plain values, sections (models), or dictionaries of either.
        others: names with the prefix that are not settings and belong to others.
    """

    def __init__(self, model: type[BaseModel], prefix: str, others: Collection[str] = ()) -> None:
        self._model = model
        self._prefix = prefix
        self._others = others
        self._types: dict[str, Any] = {}
        self._sections = [
            f"{prefix}{name}".upper() for name, item in model.model_fields.items() if _is_section(item.annotation)
        ]
        for name, field in model.model_fields.items():
            kind: Any = field.annotation
            if _is_section(kind):
                inner = kind.model_fields.items()
                self._types |= {f"{prefix}{name}__{part}".upper(): item.annotation for part, item in inner}
            else:
                self._types[f"{prefix}{name}".upper()] = kind

    def __iter__(self) -> Iterator[str]:
        """Yield the name of each setting; of a dictionary of sections only its own name."""
        return iter(self._types)

    def find_unknown(self, environment: Mapping[str, str]) -> list[str]:
        """Return the variables with the prefix, not empty, whose first part is not a setting; case does not matter.

        What follows a section's name is checked when the model is created.
        """
        return sorted(name for name, value in environment.items() if value and not self._is_known(name.upper()))

    def find_invalid_json(self, environment: Mapping[str, str]) -> list[str]:
        """Return the variables of sections, lists and tables whose value is not JSON."""
        complex_names = {*self._sections, *(n for n, kind in self._types.items() if get_origin(kind) in _COLLECTIONS)}
        values = {name: value for name, value in environment.items() if name.upper() in complex_names}
        return sorted(name for name, value in values.items() if value and not _is_json(value))

    def describe_unknown(self, name: str, candidates: Collection[str] = ()) -> str:
        """Return that `name` is not a setting, and the nearest of `candidates` (by default all) if one is near."""
        names = candidates or {*self._types, *self._sections, *self._others}
        texts = [candidate.removeprefix(self._prefix) for candidate in sorted(names)]
        near = get_close_matches(name.upper().removeprefix(self._prefix), texts, n=1, cutoff=_SIMILARITY)
        return f"{name} is not a setting" + (f"; did you mean {self._prefix}{near[0]}?" if near else "")

    def describe_error(self, error: ErrorDetails) -> str:
        """Return the variable that an error of the model's validation is about, and the reason."""
        *parents, last = [str(part).upper() for part in error["loc"]] or [""]
        name = self._prefix + "__".join([*parents, last])
        if error["type"] != "extra_forbidden":
            return f"{name}: {error['msg']}"
        return self.describe_unknown(name, self._names_beside(parents))

    def _names_beside(self, parents: list[str]) -> list[str]:
        """Return the names in an entry of a dictionary of sections, such as `CONNECTIONS__EU__`; else nothing."""
        field = self._model.model_fields.get(parents[0].lower()) if len(parents) == 2 else None
        kind: Any = get_args(field.annotation)[-1] if field is not None and get_args(field.annotation) else None
        if not _is_section(kind):
            return []
        return [self._prefix + "__".join([*parents, name.upper()]) for name in kind.model_fields]

    def _is_known(self, name: str) -> bool:
        if not name.startswith(self._prefix) or name in self._others or _SERVICE_LINK.fullmatch(name):
            return True
        first, separator, _ = name.removeprefix(self._prefix).partition("__")
        field = self._model.model_fields.get(first.lower())
        return field is not None and (
            not separator or get_origin(field.annotation) is dict or _is_section(field.annotation)
        )


def load(model: type[ModelT], names: SettingNames, environment: Mapping[str, str], values: dict[str, Any]) -> ModelT:
    """Return the settings of the environment and of `values`, which win.

    Raises:
        BadRequest: a name is not a setting, or a value is not valid; the message lists all of them with the reasons.
    """
    reasons = [names.describe_unknown(name) for name in names.find_unknown(environment)]
    try:
        settings = model(**values)
    except ValidationError as error:
        reasons += [names.describe_error(item) for item in error.errors(include_input=False, include_url=False)]
    except SettingsError as error:
        invalid = names.find_invalid_json(environment)
        reasons += [f"{name}: lists and tables are written as JSON" for name in invalid] or [str(error)]
    if reasons:
        raise BadRequest(f"settings are not valid: {'; '.join(reasons)}")
    return settings


def read_settings_file(path: str | None, variable: str) -> dict[str, Any]:
    """Return the contents of the TOML file that `variable` names, or nothing when `path` is empty.

    Raises:
        BadRequest: there is no such file, or it is not TOML.
    """
    if not path:
        return {}
    if not Path(path).is_file():
        raise BadRequest(f"{variable} names {path!r}, which is not a file")
    import tomllib  # late: most processes have no such file, and it takes 15 ms

    try:
        return tomllib.loads(Path(path).read_text(encoding="utf-8"))
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise BadRequest(f"{variable} names {path!r}, which is not TOML: {error}") from None
    except OSError as error:
        raise BadRequest(f"{variable} names {path!r}, which cannot be read ({type(error).__name__})") from None


def _is_section(kind: Any) -> bool:
    return isinstance(kind, type) and issubclass(kind, BaseModel)


def _is_json(value: str) -> bool:
    try:
        json.loads(value)
    except ValueError:
        return False
    return True
