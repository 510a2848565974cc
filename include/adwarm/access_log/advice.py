"""Says which setting to change where a log cannot be read, for the check, the doctor and the log of a run."""

from collections.abc import Sequence

from adwarm.access_log.quarantine import Quarantine

_PATHS_SHOWN = 5


def describe_unmatched_paths(quarantine: Quarantine, pattern: str) -> str:
    """Return that no request matched the path pattern, with some of their paths; empty without ignored requests."""
    return describe_path_pattern(quarantine.ignored, quarantine.unmatched_paths, pattern)


def describe_path_pattern(ignored: int, paths: Sequence[str], pattern: str) -> str:
    """Return that none of the requests matched the path pattern, with some of their paths; empty when there are none.

    Args:
        ignored: requests that opened no report.
        paths: some of those that were answered.
        pattern: the path pattern in use.
    """
    if not ignored:
        return ""
    seen = f"; paths in the log: {', '.join(paths[:_PATHS_SHOWN])}" if paths else "; no answered GET is among them"
    return f"none of {ignored:,} requests matches ADWARM_ACCESS_LOG__PATH_PATTERN, which is {pattern}{seen}"
