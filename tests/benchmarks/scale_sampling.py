"""Samples memory and processor time of the processes of a run, once a second."""

import re
import threading
from collections.abc import Callable, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from pathlib import Path
from types import TracebackType
from typing import Self

import psutil

_INTERVAL_SECONDS = 1.0
_PEAK = re.compile(r"VmHWM:\s+(\d+) kB")
FindProcesses = Callable[[], Sequence[psutil.Process]]


@dataclass
class ProcessSample:
    """What is known about one process.

    Attributes:
        group: what it belongs to, such as `scheduler`.
        peak_mb: its highest resident memory, as the kernel keeps it; 0 when it was seen only after its end.
        cpu_seconds: its processor time while it was watched, of user and system.
        name: its title.
    """

    group: str
    peak_mb: float = 0.0
    cpu_seconds: float = 0.0
    name: str = ""


@dataclass
class ProcessSampler:
    """Watches groups of processes while its context is open.

    Attributes:
        groups: finds the processes of a group, by its name.
        samples: what was seen, by process id.
    """

    groups: Mapping[str, FindProcesses]
    samples: dict[int, ProcessSample] = field(default_factory=dict)
    _began: dict[int, float] = field(default_factory=dict)
    _stopped: threading.Event = field(default_factory=threading.Event)
    _thread: threading.Thread | None = None

    def __enter__(self) -> Self:
        self._sample(is_first=True)
        self._thread = threading.Thread(target=self._run, name="sampler", daemon=True)
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self._stopped.set()
        if self._thread is not None:
            self._thread.join()
        self._sample()

    def _run(self) -> None:
        while not self._stopped.wait(_INTERVAL_SECONDS):
            self._sample()

    def _sample(self, *, is_first: bool = False) -> None:
        for group, find in self.groups.items():
            with suppress(psutil.Error):
                for process in find():
                    self._add(group, process, is_first=is_first)

    def _add(self, group: str, process: psutil.Process, *, is_first: bool) -> None:
        """Add what a process has used; the time before the first sample is not of the run."""
        with suppress(psutil.Error, OSError):
            times = process.cpu_times()
            used = times.user + times.system
            if is_first:
                self._began[process.pid] = used
            sample = self.samples.setdefault(process.pid, ProcessSample(group))
            sample.cpu_seconds = used - self._began.get(process.pid, 0.0)
            sample.peak_mb = max(sample.peak_mb, _read_peak_mb(process.pid))
            sample.name = " ".join(process.cmdline())[:60]


def _read_peak_mb(pid: int) -> float:
    found = _PEAK.search(Path(f"/proc/{pid}/status").read_text(encoding="utf-8"))
    return int(found[1]) / 1024 if found else 0.0


def find_tree(pid: int) -> list[psutil.Process]:
    """Return a process and all that descend from it."""
    parent = psutil.Process(pid)
    return [parent, *parent.children(recursive=True)]
