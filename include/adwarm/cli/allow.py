"""`adwarm allow`: lifts the denial of accounts."""

from typing import Annotated

import typer

from adwarm.cli.options import JsonOption
from adwarm.cli.output import print_json


def allow(
    accounts: Annotated[list[str], typer.Argument(help="Accounts that were denied, such as act_1234.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Forget that the platform denied access to accounts, so that the next run tries them again."""
    from adwarm.model import normalize_account_id
    from adwarm.runtime import Runtime
    from adwarm.store import denials

    lifted = denials.lift(Runtime().engine, [normalize_account_id(text) for text in accounts])
    if as_json:
        print_json({"lifted": lifted})
    else:
        typer.echo("\n".join(f"{name} is tried again" for name in lifted) or "none of them was denied")
