"""Runs the benchmarks named on the command line, or all of them."""

import sys

from tests.benchmarks import compression, reading

ALL = {"compression": compression.main, "reading": reading.run}


def main(names: list[str]) -> int:
    """Run and report."""
    unknown = set(names) - set(ALL)
    if unknown:
        print(f"no such benchmark: {', '.join(sorted(unknown))}; there are {', '.join(ALL)}", file=sys.stderr)
        return 2
    for name in names or ALL:
        ALL[name]()
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
