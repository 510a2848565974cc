"""Applications that a server process of the read API's benchmark runs."""

import logging

from fastapi import FastAPI, Header, HTTPException, Response
from starlette.types import ASGIApp, Receive, Scope, Send

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


def make_bare() -> ASGIApp:
    """Return the least that answers with a stored body: the hash of one token, a dict, and the headers of a cache."""
    runtime = Runtime()
    spec, clock = runtime.settings.spec("default"), SystemClock()
    answers: dict[str, tuple[bytes, list[tuple[bytes, bytes]]]] = {}
    hashes = {stored.secret_hash for stored in access_tokens.list_tokens(runtime.engine)}
    for item in entries.list_entries(runtime.engine):
        key = ReportKey(item.key.account_id, item.date_range)
        found = entries.find(runtime.engine, resolve_key(key, Account(key.account_id), spec, clock.now()))
        body = decode_envelope(found[1]).body if found else b""
        head = {b"content-type": b"application/json", b"content-encoding": b"zstd", b"etag": b'"1"'}
        head[b"content-length"] = b"%d" % len(body)
        answers[f"/v1/insights/{key.account_id}/{key.date_range}"] = body, list(head.items())

    async def answer(scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            return
        secret = next(value for name, value in scope["headers"] if name == b"authorization").split(b"_", 2)[2]
        if hash_secret(secret.decode()) not in hashes:
            raise PermissionError
        body, head = answers[scope["path"]]
        await send({"type": "http.response.start", "status": 200, "headers": head})
        await send({"type": "http.response.body", "body": body})

    return answer


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
