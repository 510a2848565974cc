"""Applications that a server process of the read API's benchmark runs."""

import logging

from fastapi import FastAPI, Header, HTTPException, Response
from starlette.types import ASGIApp

from adwarm.compression import decode_envelope
from adwarm.foundation.clock import SystemClock
from adwarm.model import Account, ReportKey, resolve_key
from adwarm.read_api import build_read_api
from adwarm.runtime import Runtime
from adwarm.serving.tokens import hash_secret
from adwarm.store import access_tokens, entries

logging.disable(logging.INFO)


def make_read_api() -> ASGIApp:
    """Return the read API, for a server other than that of `adwarm serve`."""
    return build_read_api(Runtime())


def make_plain() -> FastAPI:
    """Return what one would write first: FastAPI and SQLAlchemy, token check and checksum, and a line in a log."""
    runtime = Runtime()
    engine, spec = runtime.engine, runtime.settings.spec("default")
    app, clock = FastAPI(), SystemClock()
    log = (runtime.settings.home / "plain.jsonl").open("ab", buffering=0)

    @app.get("/v1/insights/{account}/{range_name}")
    def read(account: str, range_name: str, authorization: str = Header()) -> Response:
        """Answer one report."""
        token_id, _, secret = authorization.removeprefix("Bearer adwarm_").partition("_")
        stored = access_tokens.find(engine, token_id)
        if stored is None or stored.secret_hash != hash_secret(secret) or not stored.token.is_valid(clock.now()):
            raise HTTPException(401)
        key = ReportKey.parse(account, range_name)
        found = entries.find(engine, resolve_key(key, Account(account), spec, clock.now()))
        if found is None or not found[0].is_fresh(clock.now()):
            raise HTTPException(404)
        body = decode_envelope(found[1]).body
        log.write(b'{"account_id": "%s", "bytes": %d}\n' % (account.encode(), len(body)))
        return Response(body, headers={"content-encoding": "zstd"}, media_type="application/json")

    return app
