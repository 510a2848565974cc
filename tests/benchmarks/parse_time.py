"""The time that clients take to parse the JSON of a report: Python, Node.js and Chromium.

Node.js and Chromium parse once in a new process or page, as a dashboard does when it is opened.
"""

import json
import re
import shutil
import subprocess
import tempfile
from collections.abc import Callable
from pathlib import Path
from statistics import median
from time import process_time
from typing import Any

import orjson

Texts = tuple[bytes, bytes]
"""The rows and the columns of a report."""
RUNS = {"Python": 9, "Node.js": 9, "Chromium": 3}
_TIME = "const started = performance.now(); const found = JSON.parse(text); const ms = performance.now() - started;"
_BROWSERS = ("chromium", "chromium-browser", "google-chrome")


def parse_times(texts: Texts) -> dict[str, tuple[float, ...] | None]:
    """Return, per client, the median milliseconds for the rows and for the columns; None: it is not installed."""
    node = shutil.which("node")
    browser = next((path for name in _BROWSERS if (path := shutil.which(name))), None)
    with tempfile.TemporaryDirectory(ignore_cleanup_errors=True) as folder:
        calls: dict[str, Callable[[bytes], float] | None] = {
            "Python json": lambda text: _in_python(json.loads, text),
            "Python orjson": lambda text: _in_python(orjson.loads, text),
            "Node.js": (lambda text: _in_node(node, Path(folder), text)) if node else None,
            "Chromium": (lambda text: _in_chromium(browser, Path(folder), text)) if browser else None,
        }
        return {name: call and tuple(_median(call, text, name) for text in texts) for name, call in calls.items()}


def _median(call: Callable[[bytes], float], text: bytes, name: str) -> float:
    return median(call(text) for _ in range(RUNS[name.split(maxsplit=1)[0]]))


def _in_python(parse: Callable[[bytes], Any], text: bytes) -> float:
    started = process_time()
    parse(text)
    return (process_time() - started) * 1e3


def _in_node(program: str, folder: Path, text: bytes) -> float:
    path = folder / "report.json"
    path.write_bytes(text)
    script = f'const text = require("fs").readFileSync({json.dumps(str(path))}, "utf8"); {_TIME} console.log(ms);'
    done = subprocess.run([program, "-e", script], capture_output=True, text=True, check=True, timeout=120)
    return float(done.stdout)


def _in_chromium(program: str, folder: Path, text: bytes) -> float:
    """Parse in a page that is opened without a window; the page's clock has steps of 0.1 ms."""
    data = text.decode().replace("</", "<\\/")
    script = f'const text = document.getElementById("report").textContent; {_TIME}'
    script += 'document.getElementById("report").remove(); document.title = "ms:" + ms;'
    page = folder / "page.html"
    page.write_text(
        f'<html><head><meta charset="utf-8"></head><body><script type="application/json" id="report">{data}</script>'
        f"<script>{script}</script></body></html>",
        encoding="utf-8",
    )
    flags = ["--headless", "--no-sandbox", "--disable-gpu", f"--user-data-dir={folder}/profile", "--dump-dom"]
    done = subprocess.run([program, *flags, page.as_uri()], capture_output=True, text=True, check=True, timeout=120)
    match = re.search(r"<title>ms:([0-9.]+)</title>", done.stdout)
    if match is None:
        raise RuntimeError(f"Chromium measured nothing: {done.stderr[-500:]}")
    return float(match[1])
