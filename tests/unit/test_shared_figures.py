"""Each figure that two surfaces show has one function, which both call: page, command line, read API and headline."""

import ast
import importlib
import pkgutil
from pathlib import Path

import pytest
from sqlalchemy import Table

from adwarm import store
from adwarm.store.tables import metadata

ROOT = Path(__file__).resolve().parents[2]
PACKAGE = ROOT / "include/adwarm"
STATUS, NOW, FLOW = "cli/status.py", "pages/views/now_tab.py", "pages/views/flow_tab.py"
EVIDENCE, PLAN = "pages/views/evidence_tab.py", "pages/views/plan_tab.py"

FIGURES: dict[str, tuple[str, tuple[str, ...]]] = {
    "reads, first opens and their hits of a day": ("store.read_traffic:get_day_totals", (STATUS, NOW)),
    "calls of a day by cause": ("store.read_traffic:get_day_calls", (STATUS, NOW)),
    "warms used and wasted by reason, and their age": (
        "store.warm_usage:get_usage",
        (STATUS, NOW, "queries/digest.py"),
    ),
    "running and latest jobs": ("store.jobs:list_latest", (STATUS, NOW, PLAN)),
    "alerts": ("store.alerts:list_alerts", ("cli/errors.py", "cli/schedule_checks.py", NOW)),
    "failed calls": ("store.error_events:ErrorLog.list_recent", ("cli/errors.py", FLOW)),
    "healing actions": (
        "store.healing_runs:HealingStore.list_recent",
        (STATUS, FLOW),
    ),
    "requests that wait, by class": ("backpressure.request_queue:RequestQueue.status", (STATUS, FLOW)),
    "newest requests": (
        "backpressure.request_queue:RequestQueue.list_newest",
        ("cli/status_parts.py", "pages/views/actions_tab.py"),
    ),
    "limits of scopes": (
        "backpressure:SqlAdmission.status",
        (
            STATUS,
            NOW,
            FLOW,
            "cli/connection_checks.py",
        ),
    ),
    "what is not called now": (
        "store.gates:list_closed",
        (
            STATUS,
            NOW,
            FLOW,
            "serving/api/routes/state.py",
            "actions/open_gates.py",
            "maintenance/state_metrics.py",
            "maintenance/steps.py",
            "cli/connection_checks.py",
        ),
    ),
    "load of each machine": ("backpressure.machine_load:list_machines", (STATUS, FLOW)),
    "use and cost of each strategy": (
        "planning.strategy_use:report_strategies",
        (STATUS, "cli/strategy.py", "pages/views/strategies_tab.py"),
    ),
    "bytes saved by compression, its latency, and hits of the decode cache": (
        "compression:get_compression_totals",
        (STATUS, EVIDENCE, "maintenance/state_metrics.py"),
    ),
    "latency of reads of a day": ("store.read_traffic:get_day_latency", (STATUS, EVIDENCE)),
    "why a report was not warm": (
        "planning.key_facts:KeyExplainer.explain",
        ("cli/plan.py", "pages/views/plan_tab.py"),
    ),
    "fatigue of an account": (
        "queries.fatigue_overview:sum_account",
        ("cli/fatigue.py", "serving/api/routes/scores.py"),
    ),
    "ads that need action": ("queries.fatigue_overview:count_due", ("queries/digest.py", "pages/views/fatigue_tab.py")),
    "requested reports that did not come": ("store.requests:list_unfulfilled", ("actions/warm_now.py", FLOW)),
    "calls of an app": ("maintenance.platform_watch:list_apps", ("cli/connection_checks.py", FLOW)),
}
"""By what is shown: its function, and the modules that show it."""


def _called(path: Path) -> set[str]:
    """Return the last names of what a module calls."""
    calls = (node.func for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Call))
    return {
        call.attr if isinstance(call, ast.Attribute) else call.id
        for call in calls
        if hasattr(call, "attr") or hasattr(call, "id")
    }


@pytest.mark.parametrize("figure", FIGURES)
def test_surfaces_call_the_one_function(figure: str) -> None:
    """The function exists, and every module that shows the figure calls it."""
    name, surfaces = FIGURES[figure]
    module, _, function = name.partition(":")
    found = importlib.import_module(f"adwarm.{module}")
    for part in function.split("."):
        found = getattr(found, part)
    assert callable(found)
    assert [surface for surface in surfaces if function.rpartition(".")[2] not in _called(PACKAGE / surface)] == []


def _imports(path: Path) -> set[str]:
    """Return what a module imports, as `module.name`."""
    found = (node for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.ImportFrom))
    return {f"{node.module}.{alias.name}" for node in found for alias in node.names}


@pytest.mark.parametrize("surface", ["cli", "pages", "serving", "actions"])
def test_surfaces_have_no_queries_of_their_own(surface: str) -> None:
    """A query over one table stands beside it in the store, one over several in `adwarm.queries`, for all surfaces."""
    modules = [importlib.import_module(f"adwarm.store.{item.name}") for item in pkgutil.iter_modules(store.__path__)]
    tables = {
        f"{module.__name__}.{name}"
        for module in modules
        for name, value in vars(module).items()
        if isinstance(value, Table)
    }
    assert len(tables) >= len(metadata.tables)
    own = {
        path.relative_to(PACKAGE).as_posix()
        for path in (PACKAGE / surface).rglob("*.py")
        if _imports(path) & {"sqlalchemy.select", *tables}
    }
    assert own == set()
