"""Sends an event with adwarm's assets through OpenLineage's client: `python openlineage_assets.py FOLDERS FILE`.

The assets are converted by Airflow's provider for OpenLineage, which finds adwarm by its entry point in FOLDERS.
"""

import sys
from datetime import UTC, datetime
from uuid import uuid4


def send(path: str) -> None:
    """Write one event to a file."""
    from airflow.providers.openlineage.utils.utils import translate_airflow_asset
    from airflow.sdk import Asset
    from openlineage.client import OpenLineageClient
    from openlineage.client.event_v2 import Job, Run, RunEvent, RunState
    from openlineage.client.transport.file import FileConfig, FileTransport

    from adwarm_airflow import assets

    own = [value for value in vars(assets).values() if isinstance(value, Asset)]
    own.append(Asset(name=assets.REQUESTS_NAME, uri=assets.REQUESTS_URI))
    event = RunEvent(
        eventType=RunState.COMPLETE,
        eventTime=datetime.now(UTC).isoformat(),
        run=Run(str(uuid4())),
        job=Job("airflow", "adwarm_intelligent_warming.warm"),
        producer="https://github.com/apache/airflow",
        outputs=[translate_airflow_asset(asset, None) for asset in own],
    )
    OpenLineageClient(transport=FileTransport(FileConfig(log_file_path=path, append=True))).emit(event)


if __name__ == "__main__":
    sys.path[:0] = sys.argv[1].split(":")
    send(sys.argv[2])
