"""The generated blocks of the metrics page: every metric that adwarm emits, and figures of `adwarm status`."""

from adwarm.cli.status_parts import FIGURES
from adwarm.foundation import telemetry
from reference_pages.markdown import table


def blocks() -> dict[str, str]:
    """Return the table of every metric, and one for each part of `adwarm status`, by the name of its block."""
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
    figures = {
        part: table(("figure", "meaning"), ((f"`{part}.{name}`", text) for name, text in words.items()))
        for part, words in FIGURES.items()
    }
    return {"metrics": table(("metric", "in Prometheus", "type", "unit", "tags", "meaning", "where"), rows), **figures}


def _where(metric: telemetry.Metric) -> str:
    if metric in telemetry.SERVER:
        return "`/metrics`"
    return "Airflow, `/metrics`"
