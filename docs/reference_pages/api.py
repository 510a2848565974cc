"""The pages on the public API: each name of `adwarm` and `adwarm.testing` with signature, docstring and example."""

import enum
import inspect
import re
import textwrap
from dataclasses import fields, is_dataclass
from importlib import import_module
from pathlib import Path
from types import ModuleType
from typing import Annotated, Any, get_args, get_origin

from pydantic import BaseModel

import adwarm
from reference_pages.markdown import NOTICE, Undocumented, described, items, sections, table

EXAMPLES = Path(__file__).resolve().parents[1] / "api_examples"
INTRO = """# Python API

The public API is what `adwarm.__all__` exports. Everything else in the package is internal and may change in any
release. Names are imported on first use, so `import adwarm` stays fast.

"""

TESTING_INTRO = """# Testing API

What `adwarm.testing` exports, to test a source of your own.
[Write a source](../how-to/write-a-source.md) shows how to use it.

"""

WIDTH = 100
_MODULE = re.compile(r"\b(?:[a-z_]\w*\.)+(\w+)")


def names(module: ModuleType = adwarm) -> list[str]:
    """Return the public names of a module in order; the version is not one of them."""
    return [name for name in getattr(module, "__all__", []) if name != "__version__"]


def example(name: str, module: ModuleType = adwarm) -> str:
    """Return the example of a public name: the one in its docstring, else docs/api_examples/NAME.py.

    Raises:
        Undocumented: there is neither.
    """
    body = sections(_docstring(getattr(module, name))).get("Example", "")
    path = EXAMPLES / f"{name}.py"
    if body.strip():
        lines = textwrap.dedent(body).strip().splitlines()
        return "\n".join(line for line in lines if not line.startswith("```"))
    if path.is_file():
        return path.read_text(encoding="utf-8").strip()
    place = f"docs/api_examples/{name}.py"
    raise Undocumented(f"no example of {module.__name__}.{name}; add one to its docstring or to {place}")


def page() -> str:
    """Return the page of `adwarm`.

    Raises:
        Undocumented: a public name has no docstring or no example.
    """
    return _page(INTRO, adwarm)


def testing_page() -> str:
    """Return the page of `adwarm.testing`.

    Raises:
        Undocumented: a public name has no docstring or no example.
    """
    return _page(TESTING_INTRO, import_module("adwarm.testing"))


def _page(intro: str, module: ModuleType) -> str:
    exported = names(module)
    described("public names", {name: _docstring(getattr(module, name)) for name in exported})
    overview = table(("name", "does"), [(f"[`{n}`](#{n.lower()})", _summary(getattr(module, n))) for n in exported])
    entries = [_entry(name, module) for name in exported]
    parts = [intro.rstrip(), overview, *entries] if exported else [intro.rstrip()]
    return NOTICE + "\n\n".join(parts) + "\n"


def _docstring(value: Any) -> str:
    if isinstance(value, type) or callable(value) or inspect.ismodule(value):
        return inspect.getdoc(value) or ""
    return inspect.getdoc(type(value)) or ""


def _summary(value: Any) -> str:
    return sections(_docstring(value))[""].split("\n\n")[0]


def _entry(name: str, module: ModuleType) -> str:
    value = getattr(module, name)
    parts = sections(_docstring(value))
    lines = [f"## {name}", f"```text\n{_signature(name, value, module)}\n```", parts[""]]
    for heading, title in (("Args", "parameter"), ("Attributes", "attribute"), ("Raises", "raises")):
        entries = items(parts.get(heading, "")) or (_meanings(value) if heading == "Attributes" else {})
        if entries:
            lines.append(table((title, "meaning"), [(f"`{key}`", text) for key, text in entries.items()]))
    if parts.get("Returns", "").strip():
        lines.append("Returns: " + " ".join(parts["Returns"].split()))
    if members := _members(value):
        lines.append(table(("member", "does"), members))
    code = example(name, module)
    lines.append(f"```{'pycon' if code.startswith('>>>') else 'python'}\n{code}\n```")
    return "\n\n".join(lines)


def _meanings(value: Any) -> dict[str, str]:
    """Return what the fields of a dataclass mean, where their annotations say so."""
    listed = fields(value) if is_dataclass(value) else ()
    texts = {item.name: next((x for x in get_args(item.type) if isinstance(x, str)), "") for item in listed}
    return {name: text for name, text in texts.items() if text}


def _plain(hint: Any) -> Any:
    """Return a type without what its annotation says beside it."""
    return get_args(hint)[0] if get_origin(hint) is Annotated else hint


def _signature(name: str, value: Any, module: ModuleType) -> str:
    """Return the import and the call of a name, with the types' own names and one parameter a line when it is long."""
    head = f"from {module.__name__} import {name}\n\n"
    if not callable(value):
        return f"{head}{name}: {type(value).__name__}"
    if isinstance(value, type) and (issubclass(value, enum.Enum | BaseModel) or getattr(value, "_is_protocol", False)):
        return f"{head}class {name}"
    try:
        signature = inspect.signature(value)
    except ValueError:
        return f"{head}{name}(...)"
    if isinstance(value, type):
        plain = [item.replace(annotation=_plain(item.annotation)) for item in signature.parameters.values()]
        signature = signature.replace(parameters=plain, return_annotation=signature.empty)
    text = _short(f"{name}{signature}")
    if len(text) <= WIDTH:
        return head + text
    lines = [f"    {_short(line)}," for line in _parameter_lines(signature)]
    result = "" if signature.return_annotation is signature.empty else text[text.rindex(" -> ") :]
    return head + "\n".join([f"{name}(", *lines, f"){result}"])


def _short(text: str) -> str:
    """Return a signature with the types' own names instead of their full paths."""
    return _MODULE.sub(r"\1", text)


def _parameter_lines(signature: inspect.Signature) -> list[str]:
    """Return each parameter as it is written, with the mark `*` before the first keyword-only one."""
    lines: list[str] = []
    for param in signature.parameters.values():
        if param.kind is param.KEYWORD_ONLY and "*" not in lines:
            lines.append("*")
        lines.append(str(param))
    return lines


def _members(value: Any) -> list[tuple[str, str]]:
    """Return the public methods and properties of a class of ours, with the first line of each."""
    if not isinstance(value, type):
        return []
    if issubclass(value, enum.Enum):
        return [(f"`{member.name}`", f"`{member.value}`") for member in value]
    own = {
        name: item
        for name, item in vars(value).items()
        if not name.startswith("_") and (inspect.isroutine(item) or isinstance(item, property))
    }
    lines = {name: inspect.getdoc(getattr(value, name)) or "" for name in own}
    return [(f"`{name}`", text.splitlines()[0]) for name, text in lines.items() if text]
