"""The operators page, and the generated blocks of the DAGs page. Imports Airflow into a scratch home."""

import importlib.util
import inspect
from pathlib import Path
from typing import Any

from reference_pages.markdown import NOTICE, described, items, sections, table, value

OPERATORS_INTRO = """# Operators

Every operator and its parameters. All take Airflow's own operator arguments as well, such as `task_id`, `retries` and
`pool`. Examples are in [Operators in your own DAG](../how-to/operators-in-your-dag.md).

"""


def operators_page() -> str:
    """Return the operators page.

    Raises:
        Undocumented: an operator or one of its parameters has no description.
    """
    from adwarm_airflow import operators

    return NOTICE + OPERATORS_INTRO + "\n\n".join(_operator(getattr(operators, n)) for n in operators.__all__) + "\n"


def _operator(kind: Any) -> str:
    parts = sections(inspect.getdoc(kind) or "")
    described("operator", {kind.__name__: parts[""]})
    params = _parameters(kind)
    texts = {name: text for base in reversed(kind.__mro__) for name, text in _arguments(base).items()}
    described(f"parameters of {kind.__name__}", {name: texts.get(name, "") for name in params})
    rows = [
        (f"`{name}`", _default(param), "yes" if name in getattr(kind, "template_fields", ()) else "", texts[name])
        for name, param in params.items()
    ]
    return f"## {kind.__name__}\n\n{parts['']}\n\n" + table(("parameter", "default", "templated", "meaning"), rows)


def _arguments(kind: Any) -> dict[str, str]:
    own = kind.__dict__.get("__doc__") if kind.__module__.startswith("adwarm_airflow") else None
    parts = sections(inspect.cleandoc(own or ""))
    return items(parts.get("Args", "") or parts.get("Attributes", ""))  # a value of an operator has attributes


def _parameters(kind: Any) -> dict[str, inspect.Parameter]:
    """Return the constructor's keyword parameters, with those of a base class of ours that `**kwargs` passes on."""
    merged: dict[str, inspect.Parameter] = {}
    for base in kind.__mro__:
        if base.__module__.startswith("adwarm_airflow") and "__init__" in base.__dict__:
            params = inspect.signature(inspect.unwrap(base.__dict__["__init__"])).parameters.values()
            own = {p.name: p for p in params if p.name != "self" and p.kind is not p.VAR_KEYWORD}
            merged |= {name: param for name, param in own.items() if name not in merged}
    return merged


def _default(param: inspect.Parameter) -> str:
    return (
        "required"
        if param.default is param.empty
        else value(list(param.default) if isinstance(param.default, tuple) and param.default else param.default)
    )


def dag_blocks(folder: Path) -> dict[str, str]:
    """Return the block of each DAG in `folder` by its id: schedule and parameters.

    Raises:
        Undocumented: a DAG or one of its parameters has no description.
    """
    dags = [_load(path) for path in sorted(folder.glob("adwarm_*.py"))]
    described("DAG", {dag.dag_id: dag.doc_md or "" for dag in dags})
    return {dag.dag_id: _dag(dag) for dag in dags}


def _load(path: Path) -> Any:
    spec = importlib.util.spec_from_file_location(path.stem, path)
    if spec is None or spec.loader is None:
        raise ImportError(f"{path} cannot be imported")
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    [dag] = [value for value in vars(module).values() if getattr(value, "dag_id", None) == path.stem]
    return dag


def _dag(dag: Any) -> str:
    params = {name: dag.params.get_param(name) for name in dag.params}
    described(f"parameters of {dag.dag_id}", {name: param.description or "" for name, param in params.items()})
    rows = [
        (f"`{name}`", value(param.value), _allowed(param.schema), param.description) for name, param in params.items()
    ]
    tasks = ", ".join(f"`{task}`" for task in dag.task_ids)
    schedule = f"Schedule: {_schedule(dag.schedule)}. Tasks: {tasks}.\n\n"
    return schedule + table(("parameter", "default", "allowed", "meaning"), rows)


def _schedule(schedule: Any) -> str:
    if inner := getattr(schedule, "timetable", None):
        return f"{_schedule(inner)}, and on updates of its assets"
    return f"`{schedule.expression}` (UTC)"


def _allowed(schema: dict[str, Any]) -> str:
    if "enum" in schema:
        return ", ".join(f"`{choice}`" for choice in schema["enum"])
    kinds = schema.get("type", "any")
    kind = next((k for k in ([kinds] if isinstance(kinds, str) else kinds) if k != "null"), "any")
    low, high = schema.get("minimum"), schema.get("maximum")
    bounds = " and ".join(f"{sign} {limit:,}" for sign, limit in (("≥", low), ("≤", high)) if limit is not None)
    names = {"array": "list of texts", "string": "text", "boolean": "`true`, `false`", "integer": "integer"}
    return bounds or {"date": "day", "date-time": "timestamp"}.get(schema.get("format", ""), names.get(kind, kind))
