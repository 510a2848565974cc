from adwarm import ReadResult, ReportKey, Runtime, read_or_fetch


def body(runtime: Runtime, key: ReportKey) -> bytes:
    """Return the report as JSON, fetched now when nothing fresh is stored."""
    result: ReadResult = read_or_fetch(runtime.reader, runtime.prefetch_engine, key)
    return runtime.reader.get_body(result)
