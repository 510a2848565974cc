"""Tasks of `adwarm_daily_insights`: which accounts a day is closed for, and what is still to be completed."""

import logging
from collections.abc import Mapping
from datetime import date, datetime, timedelta
from typing import Any

from adwarm.errors import BadRequest
from adwarm.model import Account, Mode, account_id, local_day
from adwarm.planning.decide import closing_recommendation, store_plan
from adwarm.runtime import Runtime
from adwarm.store import accounts, jobs
from adwarm_airflow.house import open_runtime
from adwarm_airflow.runs import RunTime, day_param, run_time

DAY = timedelta(days=1)
log = logging.getLogger(__name__)


def plan_day(context: Mapping[str, Any]) -> list[int]:
    """Plan what completes the run's day, and return the numbers of the batches to carry out.

    Accounts whose day is still open are left out and named in the log. A scheduled run also takes the day before, which
    was still open in the west when its own run came. The calls are of low priority, so live warming goes first.

    Raises:
        BadRequest: an account id is not valid, or the day lies in the future everywhere.
    """
    run = run_time(context, DAY)
    runtime = open_runtime(run.clock)
    now = run.clock.now()
    day = day_param(context["params"], "day") or run.day
    days = [day] if run.explicit or run.backfill or context["params"].get("day") else [day - DAY, day]
    chosen = _chosen(runtime, context["params"].get("accounts"))
    pairs = [(item, each) for each in days for item in chosen if local_day(now, item.data_zone) > each]
    still_open = len(chosen) * len(days) - len(pairs)
    if still_open:
        log.info("%d account-days are still open and are left to a later run", still_open)
    if chosen and not pairs:
        raise BadRequest(f"{day} has not ended for any account; choose an earlier day")
    return _store(runtime, run, now, pairs)


def _store(runtime: Runtime, run: RunTime, now: datetime, pairs: list[tuple[Account, date]]) -> list[int]:
    items = [closing_recommendation(item, each, now) for item, each in pairs]
    batches = store_plan(runtime.engine, runtime.settings, run.run_id, now, Mode.LIVE, items)
    jobs.start(runtime.engine, run.run_id, run.run_id.partition("/")[0], len(items), now)
    log.info("%d account-days in %d batches", len(items), batches)
    return list(range(batches))


def _chosen(runtime: Runtime, asked: list[str] | None) -> list[Account]:
    known = accounts.many(runtime.engine)
    if not asked:
        return [item for item in known.values() if item.status == "active"]
    zone = runtime.settings.default_zone
    ids = [account_id(text) for text in asked]
    return [known.get(name) or Account(name, zone, zone, currency="") for name in ids]
