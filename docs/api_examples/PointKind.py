from adwarm.testing import PointKind

assert [str(kind) for kind in PointKind] == ["operations", "syscalls"]
