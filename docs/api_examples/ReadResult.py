from adwarm import ReadResult


def headers(result: ReadResult) -> dict[str, str]:
    """Return what a dashboard wants to know about an answer."""
    return {"x-adwarm-status": result.status, "x-adwarm-age": f"{result.age_seconds:.0f}"}
