"""Measures how much memory a piece of work takes at its peak, in a process of its own."""

import ctypes
import gc
import importlib
import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

ROOT = Path(__file__).resolve().parents[2]
_MIB = 2**20
Prepare = Callable[..., Callable[[], Any]]
"""Imports and prepares what the work needs, and returns the work, whose result is JSON."""


def measure_peak(prepare: Prepare, *arguments: Any, seconds: float = 300) -> tuple[Any, float, float]:
    """Run `prepare(*arguments)` and then the work that it returns in a new process.

    Args:
        prepare: a function at the top level of a module.
        arguments: JSON values.
        seconds: the longest time.

    Returns:
        The result of the work, the resident memory before it, and the peak during it, both in MiB.
    """
    name = f"{prepare.__module__}:{prepare.__qualname__}"
    paths = os.pathsep.join(str(ROOT / folder) for folder in ("include", "plugins", "."))
    command = [sys.executable, "-m", "tests.hostile.peak_memory", name, json.dumps(arguments)]
    environment = {**os.environ, "PYTHONPATH": paths, "MALLOC_ARENA_MAX": "2"}
    done = subprocess.run(
        command, cwd=ROOT, env=environment, capture_output=True, text=True, timeout=seconds, check=False
    )
    if done.returncode:
        raise RuntimeError(f"{name} failed:\n{done.stderr[-4000:]}")
    result, before, peak = json.loads(done.stdout.splitlines()[-1])
    return result, before, peak


def _main(name: str, arguments: str) -> None:
    module, _, function = name.partition(":")
    work = getattr(importlib.import_module(module), function)(*json.loads(arguments))
    gc.collect()
    ctypes.CDLL(None).malloc_trim(0)
    Path("/proc/self/clear_refs").write_text("5", encoding="ascii")  # the peak starts again from here
    before = _resident("VmRSS")
    result = work()
    print(json.dumps([result, before, _resident("VmHWM")]))


def _resident(field: str) -> float:
    lines = Path("/proc/self/status").read_text(encoding="ascii").splitlines()
    return next(int(line.split()[1]) * 1024 / _MIB for line in lines if line.startswith(field))


if __name__ == "__main__":
    _main(sys.argv[1], sys.argv[2])
