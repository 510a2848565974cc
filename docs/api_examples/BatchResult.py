from adwarm import BatchResult


def report(result: BatchResult) -> str:
    """Return one line about a batch that `Runtime().prefetch_engine().run(...)` fetched."""
    return ", ".join(f"{outcome.request.key}: {outcome.status}" for outcome in result.outcomes)
