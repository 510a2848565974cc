from adwarm import AsyncClient


async def describe(url: str, token: str) -> str:
    """Say how a report came: from the cache or not, how old it is, and how many bytes it took."""
    async with AsyncClient(url, token) as client:
        answer = await client.report("act_1", "last_7d", priority="high", wait=20)
        return f"{answer.status}, {answer.age_seconds} s old, {answer.wire_bytes} bytes as {answer.coding}"
