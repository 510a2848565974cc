"""Meta's own SDK, asked for an account's rows in every way it has; prints one JSON object: rows by way, and refusals.

Run as `python sdk.py QUESTION`, the question being JSON with `url`, `accounts`, `level`, `fields`, `since` and `until`.
"""

import json
import sys
import time
from typing import Any

from facebook_business.adobjects.adaccount import AdAccount
from facebook_business.adobjects.adreportrun import AdReportRun
from facebook_business.adobjects.campaign import Campaign
from facebook_business.api import FacebookAdsApi
from facebook_business.exceptions import FacebookRequestError
from facebook_business.session import FacebookSession


def main(question: dict[str, Any]) -> None:
    """Ask, and print what came."""
    FacebookSession.GRAPH = question["url"]
    api = FacebookAdsApi.init(access_token=question.get("token", "simulated-token"), crash_log=False)
    account = AdAccount(question["accounts"][0])
    if question.get("only_fails"):
        print(json.dumps(_failed(lambda: list(account.get_insights(fields=["spend"])))))
        return
    params = {
        "level": question["level"],
        "time_range": {"since": question["since"], "until": question["until"]},
        "time_increment": 1,
        "limit": 10,
    }
    fields = question["fields"]
    found = {
        "called": _plain(account.get_insights(fields=fields, params=params)),
        "report": _report(account, fields, params),
        "batch": _batch(api, question["accounts"], fields, params),
        "campaigns": [] if question["level"] == "account" else _by_campaign(account, fields, params),
        "ids": api.call("GET", ("insights",), params={"ids": question["accounts"], "fields": fields, **params}).json(),
        "unknown_field": _failed(lambda: list(account.get_insights(fields=["colour"]))),
        "unknown_word": _failed(lambda: list(account.get_insights(params={"shoe_size": 43}))),
    }
    print(json.dumps(found))


def _report(account: AdAccount, fields: list[str], params: dict[str, Any]) -> list[dict[str, Any]]:
    run = account.get_insights(fields=fields, params=params, is_async=True)
    while run.api_get()[AdReportRun.Field.async_status] != "Job Completed":
        time.sleep(0.1)
    rows = _plain(run.get_result(params={"limit": 7}))
    run.get_api_assured().call("DELETE", (run["id"],))
    if _failed(run.api_get) != [100, 33, None]:
        raise SystemExit("the report is still there")
    return rows


def _by_campaign(account: AdAccount, fields: list[str], params: dict[str, Any]) -> list[dict[str, Any]]:
    campaigns = account.get_campaigns(fields=["name", "created_time"], params={"limit": 2})
    asked = (Campaign(campaign["id"]).get_insights(fields=fields, params=params) for campaign in campaigns)
    return [row for rows in asked for row in _plain(rows)]


def _batch(api: FacebookAdsApi, accounts: list[str], fields: list[str], params: dict[str, Any]) -> list[Any]:
    found: list[Any] = []
    batch = api.new_batch()
    for name in accounts:
        AdAccount(name).get_insights(
            fields=fields,
            params=params | {"limit": 500},
            batch=batch,
            success=lambda answer: found.append(answer.json()["data"]),
            failure=lambda answer: found.append(answer.body()),
        )
    batch.execute()
    return found


def _failed(ask: Any) -> list[Any]:
    """Return code, subcode and transience of the refusal of a question."""
    try:
        ask()
    except FacebookRequestError as refusal:
        body = refusal.body()
        told = body.get("error", {}).get("is_transient") if isinstance(body, dict) else None
        return [refusal.api_error_code(), refusal.api_error_subcode(), told]
    return []


def _plain(rows: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in rows]


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
