"""The configuration of Prometheus and Grafana: rules and panels name metrics that exist, and promtool accepts them."""

import json
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from adwarm.foundation.telemetry import METRICS, MetricKind

FOLDER = Path(__file__).resolve().parents[2] / "config" / "observability"
NAMES = re.compile(r"\badwarm_\w+")
HISTOGRAM = ("_bucket", "_count", "_sum")


def _exposed() -> set[str]:
    """Return the name of each series that Prometheus may get."""
    names = {metric.prometheus_name for metric in METRICS if metric.kind is not MetricKind.TIMER}
    timers = [metric.prometheus_name for metric in METRICS if metric.kind is MetricKind.TIMER]
    return names | {f"{name}{suffix}" for name in timers for suffix in HISTOGRAM}


def _rules() -> list[dict[str, Any]]:
    document = yaml.safe_load((FOLDER / "alerts.yaml").read_text("utf-8"))
    return [rule for group in document["groups"] for rule in group["rules"]]


def _expressions() -> Iterator[str]:
    yield from (rule["expr"] for rule in _rules())
    board = json.loads((FOLDER / "grafana/dashboards/adwarm.json").read_text("utf-8"))
    yield from (target["expr"] for panel in board["panels"] for target in panel["targets"])


def test_expressions_name_metrics_that_exist() -> None:
    """Each metric in a rule or a panel is one of the list, with the suffix of its type."""
    named = {name for text in _expressions() for name in NAMES.findall(text)}
    assert named
    assert named - _exposed() == set()


def test_labels_in_expressions_are_tags() -> None:
    """Each label that an expression selects by is a tag of the metric, or one that Prometheus adds."""
    tags = {metric.prometheus_name: set(metric.tags) for metric in METRICS}
    for text in _expressions():
        for name, selector in re.findall(r"\b(adwarm_\w+)\{([^}]*)\}", text):
            base = next(item for item in (name, *(name.removesuffix(end) for end in HISTOGRAM)) if item in tags)
            used = set(re.findall(r"(\w+)\s*(?:=|!)", selector))
            assert used <= {*tags[base], "job", "le"}, text


def test_each_alert_says_what_to_do() -> None:
    """A rule has a summary, an action and a severity."""
    for rule in _rules():
        assert {"summary", "action"} <= set(rule["annotations"]), rule["alert"]
        assert rule["labels"]["severity"] in {"warning", "critical"}


@pytest.mark.parametrize(
    "arguments",
    [
        ["check", "config", "--syntax-only", "prometheus.yaml"],
        ["check", "rules", "alerts.yaml"],
        ["test", "rules", "alerts_test.yaml"],
    ],
    ids=" ".join,
)
def test_promtool_accepts_it(arguments: list[str]) -> None:
    """Prometheus' own tool accepts configuration and rules, and the tests of the rules pass."""
    tool = shutil.which("promtool")
    if tool is None:
        pytest.skip("promtool is not installed: apt-get install prometheus")
    done = subprocess.run([tool, *arguments], cwd=FOLDER, capture_output=True, text=True, check=False, timeout=60)
    assert done.returncode == 0, done.stdout + done.stderr
