"""`adwarm review`: the stored policy reviews and their pages."""

from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Final

import typer

from adwarm.cli.options import JsonOption
from adwarm.cli.output import print_fields, print_json, print_table

if TYPE_CHECKING:
    from adwarm.store import Context

NEWEST: Final = "newest"


def review(
    run: Annotated[
        str | None, typer.Argument(help="Show the review of this run; newest: the latest; default: list all.")
    ] = None,
    *,
    page: Annotated[
        Path | None, typer.Option("--page", help="Write the page of the review to this file, as HTML.")
    ] = None,
    open_browser: Annotated[bool, typer.Option("--open", help="With --page: open the file in the browser.")] = False,
    limit: Annotated[int, typer.Option(help="Maximum number of reviews to list.", min=1)] = 20,
    as_json: JsonOption = False,
) -> None:
    """List the stored policy reviews, or show one: what the live forecast achieved, the result, and its page.

    The page needs no network to be read.
    """
    from adwarm.foundation.errors import BadRequest
    from adwarm.runtime import Runtime

    if open_browser and page is None:
        raise BadRequest("--open goes with --page")
    context = Runtime().context
    if page is not None:
        _write_page(context, run or NEWEST, page, as_json=as_json)
        if open_browser:
            typer.launch(page.resolve().as_uri())
    elif run is None:
        _print_list(context, limit, as_json=as_json)
    else:
        _print_review(context, run, as_json=as_json)


def _print_list(context: "Context", limit: int, *, as_json: bool) -> None:
    from adwarm.replay.review_pages import describe_review
    from adwarm.store import read_transaction
    from adwarm.store.snapshots import list_reviews

    with read_transaction(context.engine) as connection:
        reviews = [describe_review(stored) for stored in list_reviews(connection, limit)]
    if as_json:
        print_json(reviews)
        return
    columns = ("run_id", "at", "verdict", "live_kind", "headline")
    empty = "none yet; the DAG adwarm_policy_review makes one every Monday, or when triggered"
    print_table("Reviews", columns, [[row[name] for name in columns] for row in reviews], empty)


def _print_review(context: "Context", run: str, *, as_json: bool) -> None:
    from adwarm.replay.review_pages import describe_review, get_review

    stored = get_review(context, run)
    if as_json:
        print_json({**describe_review(stored), "figures": stored.figures})
    else:
        print_fields("Review", describe_review(stored))


def _write_page(context: "Context", run: str, path: Path, *, as_json: bool) -> None:
    from adwarm.replay.review_pages import read_page

    page = read_page(context, run)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(page)
    if as_json:
        print_json({"written_to": str(path)})
    else:
        print(f"wrote {path}")
