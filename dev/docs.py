"""Builds the documentation site and serves it on this machine; `make up` starts it, so that the DAGs can link there."""

import os
import subprocess
import sys
from functools import partial
from http.server import SimpleHTTPRequestHandler, ThreadingHTTPServer

from dev.environment import ROOT, UP_HOME


def main() -> int:
    """Build the site, then serve it on the loopback port of the first argument until stopped."""
    site = UP_HOME / "site"
    subprocess.run(  # noqa: S603 -- our own interpreter
        [sys.executable, "-m", "mkdocs", "build", "--quiet", "--site-dir", str(site)],
        cwd=ROOT,
        env={**os.environ, "NO_MKDOCS_2_WARNING": "1"},
        check=True,
    )
    handler = partial(SimpleHTTPRequestHandler, directory=str(site))
    ThreadingHTTPServer(("127.0.0.1", int(sys.argv[1])), handler).serve_forever()
    return 0


if __name__ == "__main__":
    sys.exit(main())
