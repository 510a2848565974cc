"""`adwarm bench`: measurements on your own data."""

from typing import Annotated

import typer

from adwarm.cli.options import JsonOption
from adwarm.cli.output import print_json, print_lines, print_table

app = typer.Typer(help="Measure on your own data.", no_args_is_help=True, rich_markup_mode=None)

_COLUMNS = ("setting", "stored_bytes", "ratio", "pack_ms", "unpack_ms")


@app.callback()
def bench() -> None:
    """Measure on your own data."""


@app.command("compression")
def compression(
    *,
    max_entries: Annotated[int, typer.Option("--entries", min=1, help="Entries to use at most.")] = 20,
    seconds: Annotated[float, typer.Option("--seconds", min=0.1, help="About how long to measure.")] = 20,
    as_json: JsonOption = False,
) -> None:
    """Compare codecs and levels on stored entries: bytes and milliseconds, and which setting their reads advise.

    Those with most bytes read are used first. Nothing is changed.
    """
    from adwarm.maintenance.codec_comparison import compare_codecs
    from adwarm.runtime import Runtime

    result = compare_codecs(Runtime().context, max_entries=max_entries, seconds=seconds)
    if as_json:
        print_json(result.to_dict())
        return
    marks = {result.current: "current", result.advised: "advised"}
    if result.current == result.advised:
        marks[result.current] = "current, advised"
    rows = [
        [*(fields[name] for name in _COLUMNS), marks.get(fields["setting"], "")]
        for fields in (figures.to_dict() for figures in result.settings)
    ]
    title = f"{result.documents:,} documents, {result.raw_bytes:,} bytes; times per document"
    print_table(title, ("setting", "bytes", "ratio", "compress ms", "decompress ms", ""), rows)
    print_lines([(0, f"Advice: {result.why}.")])
