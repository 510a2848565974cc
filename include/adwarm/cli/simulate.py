"""`adwarm simulate`: runs the simulated ad platform."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from adwarm.cli.options import AtOption, JsonOption, clock_at
from adwarm.cli.output import print_json


def simulate(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8900,
    accounts: Annotated[int, typer.Option(help="Number of accounts; 0: every well-formed id exists.", min=0)] = 0,
    ads: Annotated[int, typer.Option(help="Ads per account.", min=1)] = 12,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal rows.", min=0)] = 7,
    zone: Annotated[str, typer.Option(help="Time zone of the accounts.")] = "UTC",
    hourly_limit: Annotated[int, typer.Option(help="Calls per account and hour; 0: no limit.", min=0)] = 0,
    latency_ms: Annotated[float, typer.Option(help="Minimum time of a response.", min=0)] = 0.0,
    faults: Annotated[Path | None, typer.Option(help="TOML file with limits, size rules and faults.")] = None,
    time_scale: Annotated[float, typer.Option(help="Platform seconds per real second.", min=0.001)] = 1.0,
    at: AtOption = None,
    decoys: Annotated[float, typer.Option(help="Share of healthy ads that only look fatigued.", min=0, max=1)] = 0.0,
    as_json: JsonOption = False,
) -> None:
    """Run the simulated ad platform until interrupted. Its access token is `simulated-token`."""
    from adwarm.foundation.errors import BadRequest, Transient
    from graph_simulator.config import SimulatorConfig
    from graph_simulator.error_responses import InvalidValue, ServerUnavailable
    from graph_simulator.fault_profile import FaultProfile, load_fault_profile
    from graph_simulator.server import run_forever

    try:
        config = SimulatorConfig(
            accounts=accounts or "any",
            ads=ads,
            seed=seed,
            zone=zone,
            hourly_limit=hourly_limit or None,
            latency_ms=latency_ms,
            time_scale=time_scale,
            now=None if at is None else clock_at(at).now(),
            decoys=decoys,
            fault_profile=FaultProfile() if faults is None else load_fault_profile(faults),
        )
    except InvalidValue as error:
        raise BadRequest(str(error)) from None
    url = f"http://{host}:{port}"
    if as_json:
        print_json({"url": url, "token": "simulated-token"})
        sys.stdout.flush()
    else:
        typer.echo(f"simulated Graph API on {url}, token simulated-token; stop with Ctrl-C")
    try:
        run_forever(config, host, port)
    except ServerUnavailable as error:
        raise Transient(str(error)) from None
