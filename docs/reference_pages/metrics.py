"""The generated block of the metrics page: every metric that adwarm emits."""

from adwarm.foundation import telemetry
from reference_pages.markdown import table


def blocks() -> dict[str, str]:
    """Return the table of every metric, by the name of its block."""
    rows = [
        (
            f"`{item.name}`",
            f"`{item.prometheus_name}`",
            str(item.kind),
            item.unit,
            ", ".join(f"`{tag}`" for tag in item.tags),
            item.meaning.removesuffix("."),
            _where(item),
        )
        for item in telemetry.METRICS
    ]
    return {"metrics": table(("metric", "in Prometheus", "type", "unit", "tags", "meaning", "where"), rows)}


def _where(metric: telemetry.Metric) -> str:
    if metric in telemetry.SERVER:
        return "`/metrics`"
    return "Airflow, `/metrics`"
