"""`adwarm verify`: checks stored data against its checksums."""

from typing import TYPE_CHECKING, Annotated

import typer

from adwarm.cli.options import JsonOption
from adwarm.cli.output import print_json, print_note, print_table
from adwarm.foundation.wording import format_count

if TYPE_CHECKING:
    from adwarm.maintenance.integrity import IntegrityResult


def verify(
    *,
    repair: Annotated[
        bool, typer.Option("--repair", help="Set damaged data aside, so that it is fetched again.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check every stored entry, partition, aggregate and forecast snapshot. Exits with 1 when anything is damaged.

    With --repair, damaged entries are marked, and the repair step of `adwarm maintain` requests them again; damaged
    days are deleted, and the next warm of a report that needs them fetches them. A copy of the damaged bytes is kept
    for a while.
    """
    from adwarm.compression import flush_statistics
    from adwarm.maintenance.integrity import recording_damage, verify_store
    from adwarm.runtime import Runtime

    runtime = Runtime()
    on_damage = recording_damage(runtime.pipeline)
    result = verify_store(runtime.context, repair=repair, at=runtime.clock.now(), on_damage=on_damage)
    flush_statistics(runtime.engine, runtime.clock.now())
    if as_json:
        print_json(result.to_dict())
    else:
        _print_result(result)
    if result.problems:
        raise typer.Exit(1)


def _print_result(result: "IntegrityResult") -> None:
    counts = [
        (kind, counts.checked, counts.damaged, counts.repaired, counts.bytes) for kind, counts in result.kinds.items()
    ]
    print_table("Checked", ("kind", "checked", "damaged", "repaired", "bytes"), counts)
    if not result.entries + result.objects:
        print("nothing is stored yet")
        return
    checked = f"{format_count(result.entries, 'entry', 'entries')} and {format_count(result.objects, 'object')} checked"
    problems = f"{len(result.problems):,} damaged or unreadable" if result.problems else "all whole"
    print_table(f"{checked}, {problems}", ("what", "why"), result.corrupt, "nothing is damaged")
    if any(counts.repaired for counts in result.kinds.values()):
        print_note(
            "set aside: warming a report fetches the days it lacks; `adwarm maintain` requests damaged entries again"
        )
