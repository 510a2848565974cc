"""Counts the system calls of a process that change files or send bytes, and kills it at the nth.

`syscall_counter.c` is compiled when it is first needed and loaded by `LD_PRELOAD`. It counts calls of libc: `write`,
`pwrite`, `writev`, `fsync`, `fdatasync`, `rename`, `renameat`, `unlink`, `unlinkat`, `send`, `sendto` and `sendmsg`, by
Python and by every shared library, such as SQLite and the driver of PostgreSQL. A library that was linked statically
into a Python module goes unseen.
"""

import ctypes
import shutil
import subprocess
import sys
from pathlib import Path

SOURCE = Path(__file__).with_name("syscall_counter.c")


class CannotCount(RuntimeError):
    """System calls cannot be counted on this machine."""


def compile_counter(folder: Path) -> Path:
    """Compile the counter into `folder`, and return the library for `LD_PRELOAD`.

    Raises:
        CannotCount: this is not Linux, there is no C compiler, or it failed.
    """
    if not sys.platform.startswith("linux"):
        raise CannotCount("system calls are counted on Linux only, because it needs LD_PRELOAD")
    compiler = shutil.which("cc")
    if compiler is None:
        raise CannotCount("system calls are counted by a small C library: install a C compiler, so that `cc` is found")
    library = folder / "syscall_counter.so"
    command = [compiler, "-O2", "-shared", "-fPIC", "-o", str(library), str(SOURCE), "-ldl"]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    if done.returncode:
        raise CannotCount(f"{SOURCE.name} could not be compiled: {done.stderr.strip()}")
    return library


def arm(kill_at: int) -> None:
    """Count this process's system calls from now on, and kill it in place of number `kill_at`; 0 only counts.

    Raises:
        CannotCount: the process was started without the counter.
    """
    _function("adwarm_arm")(ctypes.c_long(kill_at))


def disarm() -> int:
    """Stop counting, and return the number of calls.

    Raises:
        CannotCount: the process was started without the counter.
    """
    function = _function("adwarm_disarm")
    function.restype = ctypes.c_long
    return int(function())


def _function(name: str) -> "ctypes._NamedFuncPointer":
    try:
        return ctypes.CDLL(None)[name]
    except AttributeError:
        raise CannotCount("the process was started without the counter in LD_PRELOAD") from None
