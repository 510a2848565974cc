from adwarm import Client
from adwarm_client import NotReady


def print_spend(url: str, token: str) -> None:
    """Print the spend of a week by day, as the read API of `adwarm serve` has it."""
    with Client(url, token) as client:
        try:
            frame = client.frame("act_1", "last_7d")  # a pandas DataFrame
        except NotReady as error:  # it is being fetched; ask again with this id, so that both are one open
            print(f"request {error.request_id} is queued; ask again in {error.retry_after} s")
            return
        print(frame.groupby("date_start")["spend"].sum())
        print(client.scores("act_1")[:5])


with Client("http://localhost:8950", "adwarm_id_secret", cache_folder=False) as client:
    print(client)  # never shows the token
