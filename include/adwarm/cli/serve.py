"""`adwarm serve`: serves the read API and the web page."""

from typing import TYPE_CHECKING, Annotated

import typer

from adwarm.cli.options import JsonOption
from adwarm.cli.output import print_json

if TYPE_CHECKING:
    from collections.abc import Callable

_USED_LATER = (
    "adwarm.prefetch.healers",
    "adwarm.recovery.custom_healer",
    "adwarm.serving.local_caches",
    "encodings.unicode_escape",
    "psutil",
    "pyarrow.pandas_compat",
    "pyarrow.vendored.version",
)
"""Modules that requests need and that nothing imports before: an import opens files, which may be used up by then."""


def serve(
    *,
    host: Annotated[str | None, typer.Option(help="Address to listen on; default: ADWARM_SERVING__HOST.")] = None,
    port: Annotated[
        int | None, typer.Option(min=0, max=65_535, help="Port; 0 for a free one; default: ADWARM_SERVING__PORT.")
    ] = None,
    as_json: JsonOption = False,
) -> None:
    """Serve the read API, and the web page at /adwarm/, until SIGTERM or Ctrl-C.

    With --json, the first line says where they are.
    """
    import importlib
    import logging

    from adwarm.patterns.arrow_memory import system_memory_pool
    from adwarm.read_api import build_read_api
    from adwarm.runtime import Runtime
    from adwarm.serving.api.server import fit_connections, run_server

    # Standard output is the command's document; what happens while it serves goes to standard error.
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    for name in _USED_LATER:
        importlib.import_module(name)
    runtime = Runtime()
    serving = runtime.settings.serving
    with system_memory_pool():
        run_server(
            build_read_api(runtime),
            serving.host if host is None else host,
            serving.port if port is None else port,
            _announce(fit_connections(), as_json=as_json),
        )


def _announce(connections: int, *, as_json: bool) -> "Callable[[str], None]":
    def announce(url: str) -> None:
        import os
        import sys

        from adwarm.pages.mount import PAGE_PATH

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
            typer.echo(f"The web page is at {page}; log in with a token: adwarm token create --help.", err=True)

    return announce
