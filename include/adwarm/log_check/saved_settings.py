"""Writes the settings of a log into a settings file, and leaves what else it holds."""

import json
import re
import tomllib
from pathlib import Path
from typing import Any

from adwarm.foundation.errors import BadRequest
from adwarm.foundation.redaction import redact
from adwarm.settings import AccessLogSettings

_SECTION = re.compile(r"^\[access_log[\].].*?(?=^\[(?!access_log[\].])|\Z)", re.MULTILINE | re.DOTALL)


def save_settings(path: Path, log: AccessLogSettings, url: str) -> None:
    """Write the section `access_log` of a TOML file; a URL with a password in it is left out.

    Raises:
        BadRequest: the file cannot be read or written, or not without a change to its other settings.
    """
    values = log.model_dump(exclude_defaults=True) | ({"url": _absolute(url)} if redact(url) == url else {})
    try:
        before = path.read_text(encoding="utf-8") if path.exists() else ""
        others = _SECTION.sub("", before).rstrip("\n")
        lines = [f"{name} = {_to_toml(value)}" for name, value in values.items()]
        after = "\n".join([*filter(None, [others]), "[access_log]", *lines, ""])
        if tomllib.loads(after) != {**tomllib.loads(before), "access_log": json.loads(json.dumps(values))}:
            raise BadRequest(f"{path} holds settings that would change; name a new file")
        path.write_text(after, encoding="utf-8")
    except (OSError, UnicodeDecodeError, tomllib.TOMLDecodeError) as error:
        raise BadRequest(f"{path} cannot be written as a settings file: {error}") from None


def _absolute(url: str) -> str:
    return url if "://" in url else str(Path(url).expanduser().absolute())


def _to_toml(value: Any) -> str:
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_to_toml(name)} = {_to_toml(item)}" for name, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_to_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
