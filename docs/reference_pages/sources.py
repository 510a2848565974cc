"""The sources page: what each source can do."""

from collections.abc import Callable

from pydantic import SecretStr

from adwarm.settings import SourceSettings
from adwarm.sources.meta.source import MetaSource
from adwarm.sources.meta.transport import MetaCredentials
from adwarm.sources.parquet import ParquetSource
from adwarm.sources.protocol import Capabilities
from adwarm.sources.sql import SqlSource
from reference_pages.markdown import NOTICE, table

INTRO = """# Sources

Where insights come from, and what each source can do. `ADWARM_SOURCE__KIND` or an Airflow connection selects one:
[your own ad account](../how-to/own-ad-account.md), [a table or files](../how-to/other-sources.md), or
[a source that you write](../how-to/write-a-source.md). All pass one suite, `adwarm.testing.SourceContract`.

"""

CAPABILITIES: dict[str, Callable[[Capabilities], str]] = {
    "row levels": lambda caps: ", ".join(sorted(caps.levels)),
    "reach and frequency of a range": lambda caps: ", ".join(sorted(caps.unique_metrics)) or "no",
    "days and summaries in one request": lambda caps: "yes" if caps.unique_metrics else "no",
    "most days in one request": lambda caps: str(caps.max_days_per_request),
    "most summaries in one request": lambda caps: str(caps.max_windows_per_request),
    "rows per page": lambda caps: str(caps.max_page_rows),
    "breakdowns": lambda caps: "yes" if caps.has_breakdowns else "no",
    "async reports": lambda caps: f"yes, polled {caps.poll_batch} at a time" if caps.has_async_reports else "no",
    "splits too much data by": lambda caps: (
        "days, campaigns, ad sets, ads, fields" if caps.can_list_objects else "days"
    ),
    "quotas apply to": lambda caps: ", ".join(caps.quota_scopes) or "nothing",
    "history": lambda caps: "all there is" if caps.retention_days is None else f"{caps.retention_days:,} days",
}


def page() -> str:
    """Return the sources page."""
    meta = MetaSource(MetaCredentials(SecretStr("none")), SourceSettings())
    sources = {"meta": meta.capabilities, "parquet": ParquetSource.capabilities, "sql": SqlSource.capabilities}
    rows = [(name, *(text(caps) for caps in sources.values())) for name, text in CAPABILITIES.items()]
    return NOTICE + INTRO + table(("", *(f"`{name}`" for name in sources)), rows) + "\n"
