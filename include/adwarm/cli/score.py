"""`adwarm score`: scores the ads of an account at once, from its stored days."""

from typing import Annotated

import typer

from adwarm.cli.terminal import AccountArgument, JsonOption, parse_day, print_json, print_note
from adwarm.foundation.errors import NotFound


def score(
    account: AccountArgument,
    *,
    as_of: Annotated[str | None, typer.Option(help="Score as of this day; default: the newest stored one.")] = None,
    as_json: JsonOption = False,
) -> None:
    """Score the ads of an account from its stored days. Nothing is fetched; exits with 1 when it cannot be scored."""
    from adwarm.fatigue.account_scores import score_accounts
    from adwarm.model import normalize_account_id
    from adwarm.runtime import Runtime
    from adwarm.store import partitions

    runtime, account_id = Runtime(), normalize_account_id(account)
    stored = partitions.find_newest_complete_days(runtime.engine, [account_id], runtime.settings.spec("default").hash)
    day = parse_day(as_of) if as_of else stored.get(account_id)
    if day is None:
        raise NotFound(f"{account_id} has no stored day; `adwarm backfill --accounts {account_id}` fetches some")
    result = score_accounts(runtime.context, [(account_id, day)], runtime.clock.now(), runtime.pipeline)
    if as_json:
        print_json({"account": account_id, "as_of": day, **result.to_dict()})
    else:
        typer.echo(f"{account_id} on {day}: {result}")
        for error in result.errors:
            typer.echo(error, err=True)
        print_note(f"`adwarm fatigue {account_id}` shows the scores")
    if result.errors:
        raise typer.Exit(1)
