"""The time that clients take to parse the JSON of a report: Python, Node.js and Chromium.

Node.js and Chromium parse in a new process or page, as a dashboard does when it is opened, and then again. Both forms
take turns, and the median counts. Times are of the clock.
"""

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Sequence
from itertools import chain
from pathlib import Path
from statistics import median
from time import perf_counter
from typing import Any, NamedTuple

import orjson

from tests.benchmarks.measure import sized

Texts = tuple[bytes, bytes]
"""The rows and the columns of a report."""
RUNS = sized({"Python": 9, "Node.js": 9, "Chromium": 3}, {"Python": 1, "Node.js": 1, "Chromium": 1})
AGAIN = 5
"""How often a process parses after the first time."""
_TIME = f"""
const times = [];
for (let run = 0; run <= {AGAIN}; run++) {{
  const started = performance.now();
  const found = JSON.parse(text);
  times.push(performance.now() - started);
}}
"""
CLIENT = Path(__file__).resolve().parents[2] / "clients/typescript"
_STEP_MS = 0.1
"""Steps of the clock of a page; what takes less than one counts as one."""
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


class ParseTimes(NamedTuple):
    """Median milliseconds for the first time in a process, and for each time after."""

    first: float
    again: float


def parse_times(texts: Texts) -> dict[str, tuple[ParseTimes, ParseTimes] | None]:
    """Return, per client, the times for the rows and for the columns; None: it is not installed."""
    node = shutil.which("node")
    browser = next((path for name in _BROWSERS if (path := shutil.which(name))), None)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        calls: dict[str, Callable[[bytes], list[float]] | None] = {
            "Python json": lambda text: _in_python(json.loads, text),
            "Python orjson": lambda text: _in_python(orjson.loads, text),
            "Node.js": (lambda text: _in_node(node, Path(folder), text)) if node else None,
            "Chromium": (lambda text: _in_chromium(browser, Path(folder), text)) if browser else None,
        }
        return {name: call and _in_turns(call, texts, name) for name, call in calls.items()}


def row_object_times(texts: Texts) -> tuple[ParseTimes, ParseTimes] | None:
    """Return the times in Node.js to parse the rows, and to parse the columns and make row objects by our client.

    None: Node.js or the packages of the client are not installed.
    """
    node = shutil.which("node")
    if node is None or not (CLIENT / "node_modules").is_dir():
        return None
    with tempfile.TemporaryDirectory() as folder:
        command = ["npx", "tsc", "--project", "tsconfig.build.json", "--outDir", folder]
        subprocess.run(command, cwd=CLIENT, check=True, timeout=300)
        (Path(folder) / "package.json").write_text('{"type": "module"}', encoding="utf-8")
        make = f"const {{rows}} = await import({json.dumps(str(Path(folder, 'document.js')))});"
        runs = [
            (
                _in_node(node, Path(folder), texts[0]),
                _in_node(node, Path(folder), texts[1], make, "rows(JSON.parse(text).daily)"),
            )
            for _ in range(RUNS["Node.js"])
        ]
    rows, columns = zip(*runs, strict=True)
    return _medians(rows), _medians(columns)


def _in_turns(call: Callable[[bytes], list[float]], texts: Texts, client: str) -> tuple[ParseTimes, ParseTimes]:
    runs = [[call(text) for text in texts] for _ in range(RUNS[client.split(maxsplit=1)[0]])]
    rows, columns = zip(*runs, strict=True)
    return _medians(rows), _medians(columns)


def _medians(runs: Sequence[list[float]]) -> ParseTimes:
    return ParseTimes(median(run[0] for run in runs), median(chain.from_iterable(run[1:] for run in runs)))


def _in_python(parse: Callable[[bytes], Any], text: bytes) -> list[float]:
    times = []
    for _ in range(2):
        started = perf_counter()
        parse(text)
        times.append((perf_counter() - started) * 1e3)
    return times


def _in_node(
    program: str, folder: Path, text: bytes, prepare: str = "", parse: str = "JSON.parse(text)"
) -> list[float]:
    path = folder / "report.json"
    path.write_bytes(text)
    script = f'import {{readFileSync}} from "node:fs"; {prepare}'
    script += f'const text = readFileSync({json.dumps(str(path))}, "utf8"); {_TIME.replace("JSON.parse(text)", parse)}'
    script += "console.log(JSON.stringify(times));"
    command = [program, "--input-type=module", "-e", script]
    done = subprocess.run(command, capture_output=True, text=True, check=True, timeout=120)
    return list(json.loads(done.stdout))


def _in_chromium(program: str, folder: Path, text: bytes) -> list[float]:
    """Parse in a page that is opened without a window."""
    data = text.decode().replace("</", "<\\/")
    script = f'const text = document.getElementById("report").textContent; {_TIME}'
    script += 'document.getElementById("report").remove(); document.title = "ms:" + times;'
    page = folder / "page.html"
    page.write_text(
        f'<html><head><meta charset="utf-8"></head><body><script type="application/json" id="report">{data}</script>'
        f"<script>{script}</script></body></html>",
        encoding="utf-8",
    )
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile", "--dump-dom"]
    done = subprocess.run([program, *flags, page.as_uri()], capture_output=True, text=True, check=True, timeout=120)
    match = re.search(r"<title>ms:([0-9.,]+)</title>", done.stdout)
    if match is None:
        raise RuntimeError(f"Chromium measured nothing: {done.stderr[-500:]}")
    return [max(_STEP_MS, float(time)) for time in match[1].split(",")]
