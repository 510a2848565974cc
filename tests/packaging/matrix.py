"""`make test-matrix`: the wheel on each version of Python and Airflow that it supports, and on its lower bounds.

python -m tests.packaging.matrix [--python 3.12 ...] [--airflow 3.3.1 ...] [--no-lowest]

Each cell is a fresh environment with Airflow, the wheel and the newest versions of everything else; the cell `lowest`
gets every extra, and the lower bound of every dependency. Then every module is imported, provider, plugin, page and
DAGs are checked, the trial of the how-to warms a report on the simulated platform, and a forecast learns the example
log. Prints a table, writes .adwarm/matrix.json, and exits with 1 when a cell fails. A Python that this machine lacks is
skipped, and said so.
"""

import argparse
import json
import sys
import tempfile
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from subprocess import TimeoutExpired
from typing import Any

from .environments import ROOT, Distributions, Environment, build_distributions, find_interpreter, uv
from .test_bare_airflow import DAGS, SECONDS, trial_shell

PYTHONS = ("3.11", "3.12", "3.13", "3.14")
AIRFLOWS = ("3.3.0", "3.3.1", "newest")
LOWEST = "lowest"
WIDTHS = (10, 10, 10, 12, 9)
RESULT = ROOT / ".adwarm/matrix.json"
LOG = ROOT / "examples/access_log.parquet"
LEARNED_AT = "2013-03-22T04:00:00+00:00"
"""A time that the example log covers."""
_LEARNING_SECONDS = 900.0
Cell = tuple[str, str]


def main() -> int:
    """Run the cells of the command line, print the table, and return 1 when one failed."""
    parser = argparse.ArgumentParser(prog="python -m tests.packaging.matrix")
    parser.add_argument("--python", action="append", choices=PYTHONS)
    parser.add_argument("--airflow", action="append")
    parser.add_argument("--no-lowest", action="store_true")
    chosen = parser.parse_args()
    cells = [(python, airflow) for python in chosen.python or PYTHONS for airflow in chosen.airflow or AIRFLOWS]
    cells += [] if chosen.no_lowest else [((chosen.python or PYTHONS)[0], LOWEST)]
    with tempfile.TemporaryDirectory(prefix="adwarm-matrix-") as folder:
        built = build_distributions(Path(folder) / "dist")
        rows = list(run_cells(cells, built, Path(folder)))
    RESULT.parent.mkdir(exist_ok=True)
    RESULT.write_text(json.dumps(rows, indent=2) + "\n", encoding="utf-8")
    print(f"written to {RESULT.relative_to(ROOT)}")
    return int(any(row["result"] == "failed" for row in rows))


def run_cells(cells: list[Cell], built: Distributions, folder: Path) -> Iterator[dict[str, Any]]:
    """Run each cell, print its line, and yield its result."""
    heads = ("Python", "Airflow", "pandas", "SQLAlchemy", "result")
    print("".join(f"{text:{width}}" for text, width in zip(heads, WIDTHS, strict=True)), "seconds")
    for number, (python, airflow) in enumerate(cells):
        started, path = time.monotonic(), find_interpreter(python)
        if path is None:
            row = {"python": python, "airflow": airflow, "result": "skipped", "why": "not on this machine"}
        else:
            row = {"python": python, "airflow": airflow} | run_cell((path, airflow), built, folder / f"cell-{number}")
        row = {"cell": f"{python} {airflow}", **row, "seconds": round(time.monotonic() - started)}
        columns = [str(row.get(name, "–")) for name in ("python", "airflow", "pandas", "sqlalchemy", "result")]
        print("".join(f"{text:{width}}" for text, width in zip(columns, WIDTHS, strict=True)), row["seconds"])
        if "why" in row:
            print(f"  {row['why']}")
        sys.stdout.flush()
        yield row


def run_cell(cell: Cell, built: Distributions, folder: Path) -> dict[str, Any]:
    """Install one cell, check it, and return its versions with the result."""
    folder.mkdir()
    environment = Environment.create(folder, cell[0])
    row: dict[str, Any] = {}
    try:
        install(environment, cell[1], built)
        versions = environment.smoke("versions")["versions"]
        row |= {**versions, "airflow": versions["apache-airflow"]}
        uv("pip", "check", "--python", environment.python)
        problems = environment.smoke("extras")["extras"] if cell[1] == LOWEST else []
        problems += check(environment)
    except (RuntimeError, TimeoutError, ValueError, TimeoutExpired) as error:
        problems = [str(error)]
    return {**row, "result": "failed", "why": "\n".join(problems)} if problems else {**row, "result": "ok"}


def install(environment: Environment, airflow: str, built: Distributions) -> None:
    """Install a bare Airflow and the wheel into it, or, for `lowest`, the lower bounds with every extra."""
    if airflow != LOWEST:
        wanted = "apache-airflow" if airflow == "newest" else f"apache-airflow=={airflow}"
        environment.install(wanted)
        environment.install(wanted, str(built.client), str(built.wheel))
        return
    pins = environment.home / "lowest.txt"
    uv(
        "pip", "compile", "--quiet", "--resolution", "lowest-direct", "--all-extras",
        "--no-emit-package", "adwarm-client", "--python", environment.python,
        str(ROOT / "pyproject.toml"), "--output-file", str(pins),
    )  # fmt: skip
    environment.install("--requirement", str(pins))
    environment.install("--no-deps", str(built.client), str(built.wheel))


def check(environment: Environment) -> list[str]:
    """Return what is wrong in an environment with the wheel; nothing when all is well."""
    bundles = json.dumps([{"name": "adwarm", "classpath": "adwarm_airflow.bundle.AdwarmDagBundle", "kwargs": {}}])
    configured = replace(environment, variables={"AIRFLOW__DAG_PROCESSOR__DAG_BUNDLE_CONFIG_LIST": bundles})
    found = configured.smoke("imports", "provider", "plugin", "dags", "page")
    problems = [*found["imports"]]
    if found["dags"] != {"ids": DAGS, "errors": {}}:
        problems.append(f"DAGs: {found['dags']}")
    if found["plugin"]["errors"] or len(found["plugin"]["sources"]) != 1:
        problems.append(f"plugin: {found['plugin']}")
    if found["provider"]["secret_fields"] != ["access_token", "app_secret"]:
        problems.append(f"provider: {found['provider']}")
    with trial_shell(environment, SECONDS) as trial:
        trial.run("airflow", "dags", "test", "adwarm_strategy_warming", "--conf", '{"accounts": ["act_1"]}')
        trial.run("airflow", "dags", "test", "adwarm_intelligent_warming")
        status = json.loads(trial.run("adwarm", "get", "act_1", "last_7d", "--meta").stdout)["status"]
        problems += [] if status == "hit" else [f"the warmed report is read as {status}"]
        learning = replace(trial, variables={**trial.variables, "ADWARM_ACCESS_LOG__URL": str(LOG)})
        conf = json.dumps({"decision_time": LEARNED_AT, "train_now": True})
        learning.run("airflow", "dags", "test", "adwarm_access_patterns", "--conf", conf, seconds=_LEARNING_SECONDS)
        planned = json.loads(learning.run("adwarm", "plan", "--at", LEARNED_AT, "--json").stdout)
        problems += [] if planned else ["nothing is planned from the example log"]
    return problems


if __name__ == "__main__":
    sys.exit(main())
