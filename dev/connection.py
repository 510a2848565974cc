"""The connection `facebook_default` of the local Airflow, kept in Airflow's database so that the UI can edit it."""

import json
import os
import sys

from dev.environment import TOKEN

CONNECTION_ID = "facebook_default"
_DESCRIPTION = (
    "The simulated ad platform of `make up`. Put your own token here and remove graph_url to use the real one."
)


def main() -> int:
    """Save the connection for the simulator of this start, and print what was done.

    Reads `ADWARM_SOURCE__GRAPH_URL`, and in `ADWARM_UP_LAST_SIMULATOR` the simulator of the last start.
    """
    print(save_connection(os.environ["ADWARM_SOURCE__GRAPH_URL"], os.environ.get("ADWARM_UP_LAST_SIMULATOR")))
    return 0


def save_connection(graph_url: str, last_url: str | None) -> str:
    """Add the connection, or point it to the simulator's new address, and return what was done.

    An existing connection changes only when its `graph_url` is `last_url`, the address of the last start: everything
    else is the user's.
    """
    from airflow.models.connection import Connection  # reads Airflow's environment on import
    from airflow.utils.session import create_session

    with create_session() as session:
        connection = session.query(Connection).filter_by(conn_id=CONNECTION_ID).one_or_none()
        if connection is None:
            text = json.dumps(connection_extra(graph_url))
            session.add(Connection(CONNECTION_ID, "adwarm_meta", _DESCRIPTION, extra=text))
            return f"added the connection {CONNECTION_ID} for the simulator"
        extra = connection.extra_dejson
        if extra.get("graph_url") != last_url or last_url == graph_url:
            return f"kept the connection {CONNECTION_ID} as it is"
        connection.set_extra(json.dumps({**extra, "graph_url": graph_url}))
        return f"moved the connection {CONNECTION_ID} to the simulator's new address"


def connection_extra(graph_url: str) -> dict[str, str]:
    """Return the fields that Airflow's Facebook provider reads, with the simulator's values, and `graph_url`."""
    return {
        "app_id": "100000",
        "app_secret": "simulated-secret",
        "access_token": TOKEN,
        "account_id": "act_1",
        "graph_url": graph_url,
    }


if __name__ == "__main__":
    sys.exit(main())
