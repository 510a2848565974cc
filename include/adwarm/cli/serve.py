"""`adwarm serve`: serves the read API and the web page."""

from typing import TYPE_CHECKING, Annotated

import typer

from adwarm.cli.options import JsonOption
from adwarm.cli.output import print_json

if TYPE_CHECKING:
    from collections.abc import Callable


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
    import logging

    from adwarm.runtime import Runtime
    from adwarm.serving.api.server import run_server

    # Standard output is the command's document; what happens while it serves goes to standard error.
    logging.basicConfig(level=logging.WARNING, format="%(asctime)s %(levelname)s %(name)s: %(message)s")
    runtime = Runtime()
    serving = runtime.settings.serving
    run_server(
        runtime.serving_application(),
        serving.host if host is None else host,
        serving.port if port is None else port,
        _announce(as_json=as_json),
    )


def _announce(*, as_json: bool) -> "Callable[[str], None]":
    def announce(url: str) -> None:
        import os
        import sys

        from adwarm.pages.mount import PAGE_PATH

        page = f"{url}{PAGE_PATH}/"
        if as_json:
            print_json({"url": url, "page": page, "pid": os.getpid()})
            sys.stdout.flush()
        else:
            typer.echo(
                f"The read API listens on {url}. /healthz and /readyz are open, /v1/webhooks/meta needs the platform's "
                "signature once it is set up, and every other route a token.",
                err=True,
            )
            typer.echo(f"The web page is at {page}; log in with a token: adwarm token create --help.", err=True)

    return announce
