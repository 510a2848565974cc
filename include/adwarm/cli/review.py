"""`adwarm review`: the stored policy reviews and their pages."""

from pathlib import Path
from typing import Annotated

import typer

from adwarm.cli.options import JsonOption
from adwarm.cli.output import print_fields, print_json, print_table

app = typer.Typer(help="Show the stored policy reviews and their pages.", no_args_is_help=True, rich_markup_mode=None)

RunArgument = Annotated[str, typer.Argument(help="Run of the review, as list shows it; newest: the latest.")]


@app.callback()
def review() -> None:
    """Show the stored policy reviews and their pages."""


@app.command("list")
def list_stored(
    *,
    limit: Annotated[int, typer.Option(help="Maximum number of reviews.", min=1)] = 20,
    as_json: JsonOption = False,
) -> None:
    """List the stored reviews, the latest first."""
    from adwarm.replay.review_pages import describe_review
    from adwarm.runtime import Runtime
    from adwarm.store import read_transaction
    from adwarm.store.reviews import list_reviews

    with read_transaction(Runtime().engine) as connection:
        reviews = [describe_review(stored) for stored in list_reviews(connection, limit)]
    if as_json:
        print_json(reviews)
        return
    columns = ("run_id", "at", "verdict", "live_kind", "headline")
    empty = "none yet; the DAG adwarm_policy_review makes one every Monday, or when triggered"
    print_table("Reviews", columns, [[row[name] for name in columns] for row in reviews], empty)


@app.command("show")
def show_stored(run: RunArgument = "newest", *, as_json: JsonOption = False) -> None:
    """Show a review: what the live forecast achieved, the result, and where the page is."""
    from adwarm.replay.review_pages import describe_review, get_review
    from adwarm.runtime import Runtime

    stored = get_review(Runtime().context, run)
    if as_json:
        print_json({**describe_review(stored), "figures": stored.figures})
    else:
        print_fields("Review", describe_review(stored))


@app.command("page")
def write_page(
    run: RunArgument = "newest",
    *,
    out: Annotated[Path, typer.Option("--out", help="Write the page to this file.")] = Path("review.html"),
    open_browser: Annotated[bool, typer.Option("--open", help="Open the file in the browser.")] = False,
    as_json: JsonOption = False,
) -> None:
    """Write the HTML page of a review to a file; it needs no network to be read."""
    from adwarm.replay.review_pages import read_page
    from adwarm.runtime import Runtime

    page = read_page(Runtime().context, run)
    out.parent.mkdir(parents=True, exist_ok=True)
    out.write_bytes(page)
    if as_json:
        print_json({"written_to": str(out)})
    else:
        print(f"wrote {out}")
    if open_browser:
        typer.launch(out.resolve().as_uri())
