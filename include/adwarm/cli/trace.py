"""`adwarm trace`: follows one id from the plan to the entry."""

from dataclasses import asdict
from typing import Annotated

import typer

from adwarm.cli.options import JsonOption
from adwarm.cli.output import print_json, print_table


def trace(
    identifier: Annotated[
        str, typer.Argument(metavar="ID", help="A run (DAG/RUN), a planned warm (warm-12) or a request (request-7).")
    ],
    *,
    as_json: JsonOption = False,
) -> None:
    """Follow an id from plan or request over errors and fetch to the stored entry and its reads.

    Log lines carry the same ids: `ADWARM_LOG__FORMAT=json` and `ADWARM_LOG__LEVEL=DEBUG` show each call.
    """
    from adwarm.planning.trace import trace as follow
    from adwarm.runtime import Runtime

    steps = follow(Runtime().context, identifier)
    if as_json:
        print_json([asdict(step) for step in steps])
    else:
        rows = [(step.at, step.step, step.id, step.detail) for step in steps]
        print_table(f"Trace of {identifier}", ("at", "step", "id", "detail"), rows)
