"""The check of `adwarm doctor` on recovery: whether healers can be loaded, and whether the fallback chain has holes.

Both would otherwise show only when something fails.
"""

from typing import TYPE_CHECKING

from adwarm.foundation.errors import AdwarmError, BadRequest
from adwarm.foundation.wording import format_count

if TYPE_CHECKING:
    from adwarm.settings import Settings


def check_recovery(settings: "Settings") -> str:
    """Return what recovery consists of.

    Raises:
        BadRequest: a healer cannot be loaded, or a step of the chain names an unknown connection; all are named.
    """
    problems = [*_list_healer_problems(settings), *_list_chain_problems(settings)]
    if problems:
        raise BadRequest("; ".join(problems))
    recovery = settings.recovery
    steps = ", ".join(step.kind for step in recovery.fallbacks) or "none"
    healers = format_count(len(recovery.healers), "healer") if recovery.heal else "no healing (ADWARM_RECOVERY__HEAL)"
    return f"{healers}; the fallback chain is {steps}"


def _list_healer_problems(settings: "Settings") -> list[str]:
    from adwarm.prefetch.healers import list_token_hooks
    from adwarm.recovery.healing import load_function

    problems = []
    healers = settings.recovery.healers if settings.recovery.heal else ()
    for healer in healers:
        try:
            if healer.call is not None:
                load_function(healer.call)
            elif healer.action == "token_refresh":
                list_token_hooks()
        except AdwarmError as error:
            problems.append(str(error))
    return problems


def _list_chain_problems(settings: "Settings") -> list[str]:
    connections = ", ".join(settings.connections) or "there is none"
    return [
        f"the step `source` of ADWARM_RECOVERY__FALLBACKS names the connection {step.connection}, which is not in "
        f"ADWARM_CONNECTIONS ({connections})"
        for step in settings.recovery.fallbacks
        if step.connection is not None and step.connection not in settings.connections
    ]
