"""`adwarm token`: makes, lists and revokes the tokens of the read API."""

from datetime import date, datetime, timedelta
from typing import TYPE_CHECKING, Annotated, Any

import typer

from adwarm.cli.terminal import JsonOption, parse_option, print_json, print_note, print_table
from adwarm.foundation.errors import BadRequest

if TYPE_CHECKING:
    from adwarm.model import AccessToken, Priority, TokenScope
    from adwarm.store.access_tokens import StoredToken

app = typer.Typer(
    help="Tokens of the read API: make one for a reader, list them, revoke one.",
    no_args_is_help=True,
)
_COLUMNS = ("id", "name", "scopes", "accounts", "actor", "highest priority", "state", "expires", "last used")
_MAX_NAME = 80
_MAX_DAYS = 3_650
_BACKEND = "backend"
_FETCHES_PER_NEW_KEY = 10
"""A report that was never stored takes more than one that was: a tenth as many may be requested."""


@app.command("create")
def create(
    name: Annotated[str, typer.Argument(help="What it is for, such as the name of the dashboard.")],
    *,
    scope: Annotated[
        list[str] | None, typer.Option(help="read, enqueue or admin; repeat for several; default: read.")
    ] = None,
    account: Annotated[
        list[str] | None, typer.Option(help="Account that it may read; repeat for several; default: all.")
    ] = None,
    actor: Annotated[
        str,
        typer.Option(help="Who opens reports with it: human, embedded, api, or backend, which says it a request."),
    ] = "human",
    priority: Annotated[str, typer.Option(help="Most urgent class of its requests.")] = "normal",
    daily_fetches: Annotated[
        int,
        typer.Option(help="Fetches of stored reports that it may cause a day; of others a tenth of that."),
    ] = 1_000,
    rate: Annotated[float | None, typer.Option(help="Requests per second; default: 1,000.")] = None,
    expires: Annotated[str, typer.Option(help="Days from now, a date (YYYY-MM-DD), or never.")] = "365",
    as_json: JsonOption = False,
) -> None:
    """Make a token and print it on standard output. Nobody can show it again: only a hash of it is stored.

    `read` returns what is stored. `enqueue` also requests what is missing or old. `admin` also shows the state of the
    whole system, and reads every account.
    """
    from adwarm.model import AccessToken
    from adwarm.runtime import Runtime
    from adwarm.serving.tokens import make_token
    from adwarm.store import access_tokens, accounts

    runtime = Runtime()
    now, new = runtime.clock.now(), make_token()
    fetches = int(_check_at_least("--daily-fetches", daily_fetches, 0))
    token = AccessToken(
        id=new.id,
        name=_check_name(name),
        scopes=_parse_scopes(scope),
        accounts=frozenset(accounts.find_id(runtime.context, text) for text in account) if account else None,
        **_parse_actor(actor),
        highest_priority=_parse_priority(priority),
        daily_new_keys=-(-fetches // _FETCHES_PER_NEW_KEY),
        daily_refetches=fetches,
        rate_per_second=None if rate is None else _check_at_least("--rate", rate, 0.001),
        created_at=now,
        expires_at=_parse_expiry(expires, now),
    )
    _check_consistent(token)
    access_tokens.insert_token(runtime.engine, token, new.secret_hash)
    accounts.add_named(runtime.context, token.accounts or (), now)
    if as_json:
        print_json({"token": new.text, **token_fields(token, now)})
        return
    print_note(f"token {new.id} for {token.name!r}: {_describe_rights(token)}. Store it now; it is not shown again.")
    typer.echo(new.text)


@app.command("list")
def list_tokens(*, as_json: JsonOption = False) -> None:
    """List every token, the newest first, without its secret."""
    from adwarm.runtime import Runtime
    from adwarm.store import access_tokens

    runtime = Runtime()
    now = runtime.clock.now()
    stored = access_tokens.list_tokens(runtime.engine)
    if as_json:
        print_json([_stored_fields(item, now) for item in stored])
        return
    print_table("Tokens", _COLUMNS, [_row(item, now) for item in stored], "none yet; `adwarm token create` makes one")


@app.command("revoke")
def revoke(
    token_id: Annotated[str, typer.Argument(metavar="ID", help="Id of the token; `adwarm token list` shows it.")],
    *,
    as_json: JsonOption = False,
) -> None:
    """Revoke a token. Every serving process refuses it within a second."""
    from adwarm.runtime import Runtime
    from adwarm.store import access_tokens

    runtime = Runtime()
    now = runtime.clock.now()
    if token_id.startswith("adwarm_"):  # the whole token was pasted; its secret must not be repeated
        token_id = token_id.split("_")[1]
    stored = access_tokens.revoke(runtime.engine, token_id, now)
    if as_json:
        print_json(_stored_fields(stored, now))
    else:
        typer.echo(f"token {stored.token.id} ({stored.token.name}) is revoked")


def token_fields(token: "AccessToken", now: datetime) -> dict[str, Any]:
    """Return a token without its secret as JSON values."""
    return {
        "id": token.id,
        "name": token.name,
        "scopes": sorted(token.scopes),
        "accounts": None if token.accounts is None else sorted(token.accounts),
        "actor": token.actor.value,
        "is_trusted": token.is_trusted,
        "highest_priority": token.highest_priority.name.lower(),
        "daily_new_keys": token.daily_new_keys,
        "daily_refetches": token.daily_refetches,
        "rate_per_second": token.rate_per_second,
        "state": _state(token, now),
        "created_at": token.created_at,
        "expires_at": token.expires_at,
        "revoked_at": token.revoked_at,
    }


def _stored_fields(item: "StoredToken", now: datetime) -> dict[str, Any]:
    return {**token_fields(item.token, now), "last_used_at": item.last_used_at}


def _row(item: "StoredToken", now: datetime) -> tuple[Any, ...]:
    token = item.token
    return (
        token.id,
        token.name,
        ", ".join(sorted(token.scopes)),
        "all" if token.accounts is None else ", ".join(sorted(token.accounts)),
        f"{token.actor}, named by a trusted backend" if token.is_trusted else str(token.actor),
        token.highest_priority.name.lower(),
        _state(token, now),
        token.expires_at or "never",
        item.last_used_at,
    )


def _state(token: "AccessToken", now: datetime) -> str:
    if token.revoked_at is not None:
        return "revoked"
    return "valid" if token.is_valid(now) else "expired"


def _describe_rights(token: "AccessToken") -> str:
    accounts = "every account" if token.accounts is None else ", ".join(sorted(token.accounts))
    until = "without expiry" if token.expires_at is None else f"until {token.expires_at:%Y-%m-%d}"
    return f"{', '.join(sorted(token.scopes))} for {accounts}, {until}"


def _check_name(name: str) -> str:
    text = name.strip()
    if not 0 < len(text) <= _MAX_NAME or not text.isprintable():
        raise BadRequest(f"the name must be 1 to {_MAX_NAME} printable characters")
    return text


def _check_at_least(option: str, value: Any, lowest: float) -> Any:
    if not lowest <= value < 1e9:
        raise BadRequest(f"{option} {value} is not valid; write a number of at least {lowest}")
    return value


def _parse_scopes(names: list[str] | None) -> "frozenset[TokenScope]":
    from adwarm.model import TokenScope

    try:
        return frozenset(TokenScope(name.strip().lower()) for name in names or ("read",))
    except ValueError:
        raise BadRequest(f"--scope must be one of {', '.join(TokenScope)}; repeat the option for several") from None


def _parse_actor(text: str) -> dict[str, Any]:
    """Return the actor of a token, and whether its holder names the actor of each request."""
    from adwarm.model import Actor

    if text.strip().lower() == _BACKEND:
        return {"actor": Actor.HUMAN, "is_trusted": True}
    readers = [actor for actor in Actor if actor is not Actor.WARMER]  # adwarm itself needs no token
    actor = next((item for item in readers if item.value == text.strip().lower()), None)
    if actor is None:
        raise BadRequest(f"--actor {text[:40]!r} is not one of {', '.join(readers)}, {_BACKEND}")
    return {"actor": actor}


def _parse_priority(text: str) -> "Priority":
    from adwarm.model import Priority

    return parse_option(Priority.parse, text)


def _parse_expiry(text: str, now: datetime) -> datetime | None:
    """Return when a token expires: so many days from `now`, at the start of a UTC day, or never."""
    text = text.strip().lower()
    if text == "never":
        return None
    if text.isascii() and text.isdigit() and 0 < int(text[:6]) <= _MAX_DAYS:
        return now + timedelta(days=int(text))
    hint = f"is not an expiry; write days (1 to {_MAX_DAYS}), a date such as 2027-01-31, or never"
    day = parse_option(date.fromisoformat, text, hint)
    expires_at = datetime(day.year, day.month, day.day, tzinfo=now.tzinfo)
    if expires_at <= now:
        raise BadRequest(f"--expires {day} is past; write a later date, or days from now")
    return expires_at


def _check_consistent(token: "AccessToken") -> None:
    from adwarm.model import TokenScope

    if TokenScope.ADMIN in token.scopes and token.accounts is not None:
        raise BadRequest("the scope admin reads every account; leave out --account, or give another scope")
