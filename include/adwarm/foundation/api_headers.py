"""Names of adwarm's own HTTP headers, shared by the read API and its clients."""

from typing import Final

CLIENT: Final = "Adwarm-Client"
"""Request: the client library and its version, such as `hook/1` or `python/0.1.0`.

A page on another origin needs it in `Access-Control-Allow-Headers`; a page on the API's own origin just sends it.
"""

ACTOR: Final = "Adwarm-Actor"
"""Request: who opens the report, `human`, `embedded`, `api` or `warmer`; only a trusted token's is used."""

REQUEST: Final = "Adwarm-Request"
"""Request: the id of the queued request that an earlier 202 named, so that the retry is counted as the same open."""
