"""Wires the read API of one process, and the page beside it, of the parts of its `Runtime`."""

import asyncio

from fastapi import FastAPI
from starlette.types import ASGIApp

from adwarm.foundation import telemetry, tracing
from adwarm.pages.application import PageMount, build_page
from adwarm.pages.sessions import SessionAccess, add_session_routes
from adwarm.pages.views import TABS
from adwarm.runtime import Runtime
from adwarm.serving.api.anonymous import EndAnonymous
from adwarm.serving.api.app import Startable, build_application
from adwarm.serving.chain_steps import LibraryLoader
from adwarm.serving.drainers import BATCH_SIZE, describe_fetching, make_drainer
from adwarm.serving.hit_parts import HitParts
from adwarm.serving.misses import QueueMissHandler
from adwarm.serving.open_log import OpenLog
from adwarm.serving.query_watcher import QueryWatcher
from adwarm.serving.services import ServingMetrics, ServingServices
from adwarm.serving.tokens import TokenAuthenticator


def build_read_api(runtime: Runtime) -> ASGIApp:
    """Return the read API of this process and the page beside it; its lifespan starts and ends its parts.

    It may be served once.
    """
    metrics = ServingMetrics()
    telemetry.add_sink(metrics)
    parts = HitParts(runtime.context, runtime.clock)
    runtime.caches.add(parts.pointers, parts.bodies, parts.representations)
    authenticator = TokenAuthenticator(runtime.engine, runtime.clock)
    opens, misses = OpenLog(runtime.settings), build_miss_handler(runtime)
    services = ServingServices(
        context=runtime.context,
        clock=runtime.clock,
        chain=runtime.read_chain,
        queue=runtime.queue,
        authenticator=authenticator,
        misses=misses,
        opens=opens,
        counter=parts.counter,
        metrics=metrics,
        fetch_mode=misses.drainer.mode.mode,
    )

    async def close() -> None:
        await queries.close()
        await misses.close()
        await authenticator.close()
        await asyncio.to_thread(parts.close)
        await asyncio.to_thread(opens.close)
        telemetry.remove_sink(metrics)

    queries = QueryWatcher(runtime.engine, runtime.settings)
    startables: list[Startable] = [parts.counter, opens, misses, queries]
    has_partitions = any(step.kind == "partitions" for step in runtime.read_chain.steps)
    startables += [LibraryLoader()] if has_partitions else []
    api = build_application(services, parts, startables, close)
    application = EndAnonymous(PageMount(api, build_token_page(runtime, authenticator)))
    # Spans are sent where the environment says, if it says so.
    is_traced = tracing.start_provider("adwarm-serve") and tracing.instrument(runtime.engine)
    return tracing.trace_requests(application) if is_traced else application


def build_miss_handler(runtime: Runtime) -> QueueMissHandler:
    """Return a new handler of misses and stale reports, not started."""
    mode = describe_fetching(runtime.settings, runtime.source_factories)
    drainer = make_drainer(mode, runtime.queue, lambda: runtime.queue_worker(BATCH_SIZE), runtime.clock)
    return QueueMissHandler(runtime.engine, runtime.settings, runtime.clock, runtime.queue, drainer)


def build_token_page(runtime: Runtime, authenticator: TokenAuthenticator) -> FastAPI:
    """Return the web page with a login by tokens."""
    access = SessionAccess(runtime.engine, runtime.clock, authenticator)
    page = build_page(TABS, lambda: runtime.page_services, access)
    add_session_routes(page, access)
    return page
