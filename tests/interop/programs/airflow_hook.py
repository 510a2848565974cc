"""Airflow's Facebook hook, asked for the rows of several accounts; writes rows by account as JSON.

Run as `python airflow_hook.py QUESTION`, the question being JSON with `url`, `accounts`, `level`, `fields`, `since`,
`until` and `found`, the file that the answer goes to: the hook's log goes to the standard output.
"""

import json
import os
import sys
from pathlib import Path
from typing import Any


def main(question: dict[str, Any]) -> None:
    """Ask, and print what came."""
    extra = {"app_id": "1", "app_secret": "1", "access_token": "simulated-token", "account_id": question["accounts"]}
    os.environ["AIRFLOW_CONN_FACEBOOK_DEFAULT"] = json.dumps({"conn_type": "facebook_social", "extra": extra})
    from airflow.providers.facebook.ads.hooks.ads import FacebookAdsReportingHook
    from facebook_business.session import FacebookSession

    FacebookSession.GRAPH = question["url"]
    params = {
        "level": question["level"],
        "time_increment": 1,
        "time_range": {"since": question["since"], "until": question["until"]},
    }
    found = FacebookAdsReportingHook().bulk_facebook_report(params, question["fields"], sleep_time=0.1)
    rows_of = {account: [dict(row) for row in rows] for account, rows in found.items()}
    Path(question["found"]).write_text(json.dumps(rows_of), encoding="utf-8")


if __name__ == "__main__":
    main(json.loads(sys.argv[1]))
