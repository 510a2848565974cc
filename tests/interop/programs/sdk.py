"""Fetches an account's rows with Meta's SDK in every way it has; prints one JSON object of rows by way, and errors.

Run as `python sdk.py QUERY`. The query is JSON with `url`, `accounts`, `level`, `fields`, `since` and `until`.
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


def main(query: dict[str, Any]) -> None:
    """Fetch the rows and print them."""
    FacebookSession.GRAPH = query["url"]
    api = FacebookAdsApi.init(access_token=query.get("token", "simulated-token"), crash_log=False)
    account = AdAccount(query["accounts"][0])
    if query.get("only_fails"):
        print(json.dumps(_failed(lambda: list(account.get_insights(fields=["spend"])))))
        return
    params = {
        "level": query["level"],
        "time_range": {"since": query["since"], "until": query["until"]},
        "time_increment": 1,
        "limit": 10,
    }
    fields = query["fields"]
    result = {
        "called": _plain(account.get_insights(fields=fields, params=params)),
        "report": _report(account, fields, params),
        "batch": _batch(api, query["accounts"], fields, params),
        "campaigns": [] if query["level"] == "account" else _by_campaign(account, fields, params),
        "ids": api.call("GET", ("insights",), params={"ids": query["accounts"], "fields": fields, **params}).json(),
        "unknown_field": _failed(lambda: list(account.get_insights(fields=["colour"]))),
        "unknown_word": _failed(lambda: list(account.get_insights(params={"shoe_size": 43}))),
    }
    print(json.dumps(result))


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
    row_lists = (Campaign(campaign["id"]).get_insights(fields=fields, params=params) for campaign in campaigns)
    return [row for rows in row_lists for row in _plain(rows)]


def _batch(api: FacebookAdsApi, accounts: list[str], fields: list[str], params: dict[str, Any]) -> list[Any]:
    result: list[Any] = []
    batch = api.new_batch()
    for name in accounts:
        AdAccount(name).get_insights(
            fields=fields,
            params=params | {"limit": 500},
            batch=batch,
            success=lambda answer: result.append(answer.json()["data"]),
            failure=lambda answer: result.append(answer.body()),
        )
    batch.execute()
    return result


def _failed(ask: Any) -> list[Any]:
    """Return code, subcode and `is_transient` of the error that a call raises."""
    try:
        ask()
    except FacebookRequestError as error:
        body = error.body()
        transient = body.get("error", {}).get("is_transient") if isinstance(body, dict) else None
        return [error.api_error_code(), error.api_error_subcode(), transient]
    return []


def _plain(rows: Any) -> list[dict[str, Any]]:
    return [dict(row) for row in rows]


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
