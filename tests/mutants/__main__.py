"""`make mutants`: mutate the rules that decide, run their tests, write docs/reference/mutants.md."""

import argparse
import sys
from pathlib import Path

from tests.mutants.report import PAGE, write_page
from tests.mutants.session import load_targets, run_session

_LEAST_KILLED = 0.9


def main() -> int:
    """Return 1 when fewer than nine of ten mutants are killed."""
    parser = argparse.ArgumentParser(prog="make mutants", description=__doc__)
    parser.add_argument("--seed", type=int, default=1)
    parser.add_argument("--each", type=int, default=22, help="mutants of each module, if it has as many places")
    parser.add_argument("--only", default="", help="only modules whose path or rule contains this; writes no page")
    parser.add_argument("--workers", type=int, default=2)
    parser.add_argument("--page", type=Path, default=PAGE)
    options = parser.parse_args()
    targets = [target for target in load_targets() if options.only in f"{target.rule} {target.module}"]
    session = run_session(targets, options.each, options.seed, options.workers)
    if not options.only:
        write_page(options.page, session)
    for result in session.survivors:
        if not result.reason:
            print(f"no reason in accepted.toml: {result.mutant}")
    print(f"{session.killed} of {len(session.results)} mutants killed ({session.share:.1%}), seed {options.seed}")
    return int(session.share < _LEAST_KILLED)


if __name__ == "__main__":
    sys.exit(main())
