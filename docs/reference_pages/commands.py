"""The generated blocks of the commands page: usage, arguments and options of each command."""

from collections.abc import Iterator
from typing import Any

import typer

from adwarm.cli.app import app, describe_value
from reference_pages.markdown import described, table, value


def blocks() -> dict[str, str]:
    """Return the block of each command by its full name, such as `adwarm backfill run`.

    Raises:
        Undocumented: a command, argument or option has no help.
    """
    return {name: _block(name, command) for name, command in walk("adwarm", typer.main.get_command(app))}


def walk(name: str, command: Any) -> Iterator[tuple[str, Any]]:
    """Yield every command below `command` that does something itself."""
    nested = getattr(command, "commands", {})
    if not nested or command.invoke_without_command:
        yield name, command
    for child, item in nested.items():
        yield from walk(f"{name} {child}", item)


def _block(name: str, command: Any) -> str:
    described("command", {name: command.help or ""})
    params = [param for param in command.params if param.name != "help"]
    helps = described(f"options of `{name}`", {_label(param): getattr(param, "help", "") or "" for param in params})
    usage = " ".join([name, *(_usage(param) for param in params if param.required or not _is_option(param))])
    usage += " [OPTIONS]" if any(_is_option(param) and not param.required for param in params) else ""
    text = f"```text\n{usage}\n```"
    if not params:
        return text
    rows = [(_label(param), _default(param), helps[_label(param)]) for param in params]
    return text + "\n\n" + table(("argument or option", "default", "meaning"), rows)


def _is_option(param: Any) -> bool:
    return bool(param.param_type_name == "option")


def _metavar(param: Any) -> str:
    return str(param.metavar or describe_value(param))


def _label(param: Any) -> str:
    if not _is_option(param):
        return f"`{_usage(param).strip('[]')}`"
    flags = ", ".join([*param.opts, *param.secondary_opts])
    return f"`{flags}`" if param.is_flag else f"`{flags} {_metavar(param)}`"


def _usage(param: Any) -> str:
    if _is_option(param):
        return f"{param.opts[0]} {_metavar(param)}"
    name = (param.metavar or param.name.upper()) + ("..." if param.nargs == -1 else "")
    return name if param.required else f"[{name}]"


def _default(param: Any) -> str:
    if param.required:
        return "required"
    if param.default is False or callable(param.default):
        return ""
    return value(param.default)
