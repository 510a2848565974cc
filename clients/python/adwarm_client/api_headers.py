"""Names of adwarm's own HTTP headers, shared by the read API and its clients."""

from typing import Final

ACTOR: Final = "Adwarm-Actor"
"""Request: who opens the report, `human`, `embedded`, `api` or `warmer`; only `api` is taken from every token."""

REQUEST: Final = "Adwarm-Request"
"""Request: the id of the queued request that an earlier 202 named, so that the retry is counted as the same open."""

SOURCE: Final = "Adwarm-Source"
"""Response: the step of the fallback chain that answered, such as `partitions`; absent for the stored entry."""

DEGRADED: Final = "Adwarm-Degraded"
"""Response: `?1` when the answer is less than what was asked for; absent otherwise."""

REASON: Final = "Adwarm-Reason"
"""Response: why it is degraded, or why a fallback answered, as a quoted string."""

ACTIONS: Final = "Adwarm-Actions"
"""Response: what was tried before, as a list of quoted strings."""

WINDOW: Final = "Adwarm-Window"
"""Response: the days of the answer, `YYYY-MM-DD..YYYY-MM-DD`, when they are not those asked for; absent otherwise."""

ALLOW_PARTIAL: Final = "allow-partial"
"""Token of the request header `Prefer`: an answer of other days than those asked for is welcome."""

PRIORITY: Final = "Adwarm-Priority"
"""Request: class of the request for a report that is missing or old: `critical`, `high`, `normal` or `low`."""
