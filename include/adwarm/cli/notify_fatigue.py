"""`adwarm notify-fatigue`: stores the platform's notices of fatigue from a file."""

from pathlib import Path
from typing import Annotated

import typer

from adwarm.cli.options import JsonOption
from adwarm.cli.output import print_json


def notify_fatigue(
    file: Annotated[
        Path, typer.Argument(help="Webhooks of Meta as JSON, or a CSV with account_id, ad_id, noticed_at and level.")
    ],
    *,
    as_json: JsonOption = False,
) -> None:
    """Store Meta's notices of creative fatigue from a file; those that are stored already stay as they are.

    They are shown beside the scores, and `adwarm fatigue-check` compares both. The file is read as CSV when its name
    ends in .csv, else as JSON. An error in it stores nothing.
    """
    from adwarm.fatigue.notice_formats import MAX_FILE_BYTES, parse_file
    from adwarm.foundation.errors import BadRequest
    from adwarm.foundation.wording import format_count
    from adwarm.runtime import Runtime
    from adwarm.store import platform_fatigue

    runtime = Runtime()
    now = runtime.clock.now()
    try:
        with file.open("rb") as opened:
            data = opened.read(MAX_FILE_BYTES + 1)
    except OSError as error:
        raise BadRequest(f"{file} cannot be read: {error.strerror or error}") from None
    try:
        notices = parse_file(data, now, is_csv=file.suffix.lower() == ".csv")
    except BadRequest as error:
        raise BadRequest(f"{file}: {error}") from None
    stored = platform_fatigue.insert_notices(runtime.engine, notices, now)
    known = len(notices) - stored
    if as_json:
        print_json({"stored": stored, "known": known})
    else:
        typer.echo(f"{format_count(stored, 'new notice')} stored; {known:,} stored before")
