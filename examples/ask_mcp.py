"""Asks `adwarm-mcp` as an assistant does, on a simulated platform:

adwarm simulate --accounts 20 --ads 60 --seed 7 &
export ADWARM_SOURCE__GRAPH_URL=http://127.0.0.1:8900 ADWARM_SOURCE__ACCESS_TOKEN=simulated-token
adwarm db upgrade
adwarm warm act_100000000000001 --range last_7d
adwarm backfill run --accounts act_100000000000001 --from 2026-09-20 --to 2026-11-30
adwarm fatigue act_100000000000001 --score
export ADWARM_API_TOKEN=$(adwarm token create assistant --scope enqueue)
adwarm serve &
python examples/ask_mcp.py
"""

import asyncio
import os

from mcp import Client, StdioServerParameters

API = "http://127.0.0.1:8950"
ACCOUNT = {"account": "act_100000000000001"}
COLUMNS = ["ad_name", "spend", "ctr", "actions.purchase"]


async def ask() -> None:
    """Print what two of the tools answer."""
    program = StdioServerParameters(command="adwarm-mcp", args=[API], env=dict(os.environ))
    async with Client(program) as client:
        report = {**ACCOUNT, "date_range": "last_7d", "columns": COLUMNS, "limit": 2}
        for tool, arguments in (("get_report", report), ("ads_to_replace", {**ACCOUNT, "limit": 1})):
            answer = await client.call_tool(tool, arguments)
            print(answer.content[0].text)


if __name__ == "__main__":
    asyncio.run(ask())
