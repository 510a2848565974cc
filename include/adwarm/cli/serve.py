"""`adwarm serve` and `adwarm simulate`: the read API with the web page, and the simulated ad platform."""

import sys
from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from adwarm.cli.terminal import AtOption, JsonOption, clock_at, print_json

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp

    from adwarm.runtime import Runtime

_USED_LATER = (
    "adwarm.planning.strategies",
    "adwarm.prefetch.healers",
    "adwarm.recovery.healing",
    "adwarm.serving.local_caches",
    "encodings.unicode_escape",
    "psutil",
    "pyarrow.parquet",
)
"""Modules that requests need and that nothing imports before: an import opens files, which may be used up by then."""


def serve(
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen on; default: ADWARM_SERVING__HOST.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Port; 0 for a free one; default: ADWARM_SERVING__PORT.")
    ] = None,
    workers: Annotated[
        int, typer.Option(min=1, max=64, help="Processes on the port, one for each core that may be busy.")
    ] = 1,
    as_json: JsonOption = False,
) -> None:
    """Serve the read API, and the web page at /adwarm/, until SIGTERM or Ctrl-C.

    With --json, the first line says where they are.
    """
    from adwarm.foundation.arrow_arrays import system_memory_pool
    from adwarm.foundation.clock import bound_waits_together
    from adwarm.runtime import Runtime
    from adwarm.serving.api.server import fit_connections, run_server, run_workers

    bound_waits_together(is_command=False)
    _write_log()
    runtime = Runtime()
    serving = runtime.settings.serving
    host, port = serving.host if host is None else host, serving.port if port is None else port
    announce = _announce(workers * fit_connections(), workers, as_json=as_json)
    if workers > 1:
        run_workers(f"{__name__}:build_worker", workers, host, port, announce)
        return
    with system_memory_pool():
        run_server(_build(runtime), host, port, announce)


def build_worker() -> "ASGIApp":
    """Return the application of a worker; uvicorn calls it in the worker's process. An error ends all workers."""
    import atexit
    import logging
    from contextlib import ExitStack

    from adwarm.foundation.arrow_arrays import system_memory_pool
    from adwarm.runtime import Runtime
    from adwarm.serving.api.server import end_with_supervisor, favor_loop

    _write_log()
    end_with_supervisor()
    stack = ExitStack()
    stack.enter_context(system_memory_pool())
    atexit.register(stack.close)
    try:
        app = _build(Runtime())
    except Exception:
        logging.getLogger(__name__).exception("the worker does not start")
        sys.exit(3)  # at which uvicorn ends all workers
    favor_loop()
    return app


def _write_log() -> None:
    """Standard output is the command's document; what happens while it serves goes to standard error."""
    import logging

    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")


def _build(runtime: "Runtime") -> "ASGIApp":
    import importlib

    from adwarm.read_api import build_read_api

    for name in _USED_LATER:
        importlib.import_module(name)
    return build_read_api(runtime)


def _announce(connections: int, workers: int, *, as_json: bool) -> "Callable[[str], None]":
    def announce(url: str) -> None:
        import os
        import sys

        from adwarm.pages.application import PAGE_PATH

        page = f"{url}{PAGE_PATH}/"
        if as_json:
            print_json({"url": url, "page": page, "pid": os.getpid(), "max_connections": connections})
            sys.stdout.flush()
        else:
            typer.echo(
                f"The read API listens on {url}. /healthz and /readyz are open, every other route needs a token.",
                err=True,
            )
            typer.echo(f"It holds up to {connections:,} connections at a time.", err=True)
            if workers > 1:
                typer.echo(f"{workers} workers share the port; the rate of a token counts in each of them.", err=True)
            typer.echo(f"The web page is at {page}; log in with a token: adwarm token create --help.", err=True)

    return announce


def simulate(
    *,
    host: Annotated[str, typer.Option(help="Address to listen on.")] = "127.0.0.1",
    port: Annotated[int, typer.Option(help="Port to listen on.", min=1, max=65535)] = 8900,
    accounts: Annotated[int, typer.Option(help="Number of accounts; 0: every well-formed id exists.", min=0)] = 0,
    ads: Annotated[int, typer.Option(help="Ads per account.", min=1)] = 12,
    seed: Annotated[int, typer.Option(help="Equal seeds give equal rows.", min=0)] = 7,
    faults: Annotated[
        Path | None, typer.Option(help="TOML file with limits, faults, zone, latency and pace of its clock.")
    ] = None,
    at: AtOption = None,
    as_json: JsonOption = False,
) -> None:
    """Run the simulated ad platform until interrupted. Its access token is `simulated-token`."""
    from adwarm.foundation.errors import BadRequest, Transient
    from graph_simulator.config import SimulatorConfig
    from graph_simulator.error_responses import InvalidValue, ServerUnavailable
    from graph_simulator.fault_profile import FaultProfile, PlatformSetting, load_platform_file
    from graph_simulator.server import run_forever

    try:
        platform, profile = (PlatformSetting(), FaultProfile()) if faults is None else load_platform_file(faults)
        config = SimulatorConfig(
            accounts=accounts or "any",
            ads=ads,
            seed=seed,
            now=None if at is None else clock_at(at).now(),
            fault_profile=profile,
            **platform.model_dump(),
        )
    except InvalidValue as error:
        raise BadRequest(str(error)) from None
    url = f"http://{host}:{port}"
    if as_json:
        print_json({"url": url, "token": config.token})
        sys.stdout.flush()
    else:
        typer.echo(f"simulated Graph API on {url}, token {config.token}; stop with Ctrl-C")
        settings = {"ADWARM_SOURCE__GRAPH_URL": url, "ADWARM_SOURCE__ACCESS_TOKEN": config.token}
        typer.echo(" ".join(["to use it: export", *(f"{name}={value}" for name, value in settings.items())]))
    try:
        run_forever(config, host, port)
    except ServerUnavailable as error:
        raise Transient(str(error)) from None
