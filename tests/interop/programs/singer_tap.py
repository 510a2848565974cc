"""Singer's tap for Facebook with another platform address: `python singer_tap.py URL --config FILE`.

It reads every stream with all of its fields. Nothing else is changed except the pauses between two polls.
"""

import json
import sys
import time
from pathlib import Path
from types import SimpleNamespace

import tap_facebook
from facebook_business.session import FacebookSession

if __name__ == "__main__":
    FacebookSession.GRAPH = sys.argv.pop(1)
    tap_facebook.time = SimpleNamespace(time=time.time, sleep=lambda seconds: time.sleep(min(seconds, 0.2)))
    catalog = tap_facebook.discover_schemas()
    for stream in catalog["streams"]:
        for item in stream["metadata"]:
            item["metadata"]["selected"] = True
    path = Path("catalog.json")
    path.write_text(json.dumps(catalog), encoding="utf-8")
    sys.argv += ["--properties", str(path)]
    tap_facebook.main()
