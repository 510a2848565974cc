"""The script `adwarm-mcp`: serves the tools over standard input and output, or over streamable HTTP."""

import argparse
import os
import sys
from importlib.util import find_spec

from adwarm_client.errors import BadRequest

_TOKEN = "ADWARM_API_TOKEN"


def main() -> None:
    """Serve until the caller goes."""
    if find_spec("mcp") is None:
        sys.exit("adwarm-mcp needs the extra mcp: pip install 'adwarm-client[mcp]'")
    parser = argparse.ArgumentParser("adwarm-mcp", description="Serves tools of MCP over adwarm's read API.")
    parser.add_argument("url", nargs="?", default="http://127.0.0.1:8950", help="URL of the read API; %(default)s")
    http_help = (
        f"serve streamable HTTP there, at /mcp, to callers with tokens of their own; without it, stdio and {_TOKEN}"
    )
    parser.add_argument("--http", metavar="HOST:PORT", help=http_help)
    options = parser.parse_args()
    try:
        _serve(options.url, options.http)
    except BadRequest as error:
        sys.exit(f"adwarm-mcp: {error}")


def _serve(url: str, address: str | None) -> None:
    from mcp.server.transport_security import TransportSecuritySettings

    from adwarm_client.mcp_server import AdwarmTools, make_server

    if address is None:
        token = os.environ.get(_TOKEN)
        if not token:
            raise BadRequest(f"{_TOKEN} is not set; put a token of `adwarm token create` into it")
        make_server(AdwarmTools(url, token)).run()
        return
    host, _, port = address.rpartition(":")
    if not host or not port.isdecimal():
        raise BadRequest("--http needs a host and a port, such as 127.0.0.1:8951")
    # A page that gives this host another name has no token, and behind a proxy the name is any.
    security = TransportSecuritySettings(enable_dns_rebinding_protection=False)
    options = {"stateless_http": True, "json_response": True, "transport_security": security}
    make_server(AdwarmTools(url, None)).run("streamable-http", host=host, port=int(port), **options)
