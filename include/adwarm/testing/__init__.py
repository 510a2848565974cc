"""Breaks things on purpose: for the tests of adwarm, and for those of people who build on it.

| module         | what it does                                                                                     |
|----------------|--------------------------------------------------------------------------------------------------|
| `proxy`        | stands between a client and a server, and delays, drops, resets, truncates or slows what passes  |
| `kill`         | starts a worker process, and kills, stops or continues it at a moment                            |
| `fork_server`  | starts such workers in milliseconds, by forking a process that has everything imported           |
| `crash_points` | lets a worker die at its nth statement, commit, file write, lease, upstream call, or system call |
| `source_contract` | the tests that every source of insights must pass                                             |

It needs no test framework, and no code of the product knows of it. System calls are counted on Linux with a C compiler;
all else works wherever Python has `fork`.
"""

from adwarm.testing.crash_points import CrashPoints, PointKind
from adwarm.testing.fork_server import ForkedWorker, ForkServer
from adwarm.testing.kill import Worker, wait_until
from adwarm.testing.proxy import FaultProxy, NetworkFaults, ProxyCounts
from adwarm.testing.source_contract import (
    CannotHold,
    ContractBroken,
    SourceContract,
    UpstreamData,
    UpstreamFailure,
    sample_data,
)
from adwarm.testing.syscalls import CannotCount

__all__ = [
    "CannotCount",
    "CannotHold",
    "ContractBroken",
    "CrashPoints",
    "FaultProxy",
    "ForkServer",
    "ForkedWorker",
    "NetworkFaults",
    "PointKind",
    "ProxyCounts",
    "SourceContract",
    "UpstreamData",
    "UpstreamFailure",
    "Worker",
    "sample_data",
    "wait_until",
]
