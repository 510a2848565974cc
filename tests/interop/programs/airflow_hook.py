"""Fetches the rows of several accounts with Airflow's Facebook hook; writes rows by account as JSON.

Run as `python airflow_hook.py QUERY`. The query is JSON with `url`, `accounts`, `level`, `fields`, `since`, `until` and
`output`, the file for the rows: the hook logs to standard output.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any


def main(query: dict[str, Any]) -> None:
    """Fetch the rows and write them."""
    extra = {"app_id": "1", "app_secret": "1", "access_token": "simulated-token", "account_id": query["accounts"]}
    os.environ["AIRFLOW_CONN_FACEBOOK_DEFAULT"] = json.dumps({"conn_type": "facebook_social", "extra": extra})
    from airflow.providers.facebook.ads.hooks.ads import FacebookAdsReportingHook
    from facebook_business.session import FacebookSession

    FacebookSession.GRAPH = query["url"]
    params = {
        "level": query["level"],
        "time_increment": 1,
        "time_range": {"since": query["since"], "until": query["until"]},
    }
    result = FacebookAdsReportingHook().bulk_facebook_report(params, query["fields"], sleep_time=0.1)
    rows_of = {account: [dict(row) for row in rows] for account, rows in result.items()}
    Path(query["output"]).write_text(json.dumps(rows_of), encoding="utf-8")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
