"""The commands and programs of the pages with commands or Python."""

import json
import re
import subprocess
from pathlib import Path

import pytest

from dev.demo_figures import SUMMARY, render_sample
from tests.docs.blocks import ROOT, Block, find_blocks, find_pages_to_run
from tests.docs.conftest import Checkout, Shell

SIMULATOR_PORT, SERVE_PORT = "8900", "8950"
pytestmark = pytest.mark.timeout(1_800)  # whichever test comes first waits for the demo


def _run(shell: Shell, block: Block, checkout: Checkout, port: int) -> str:
    """Run a block as it stands, but on a port that is free here, and return its error; empty when there is none."""
    text = block.text.replace(f"127.0.0.1:{SIMULATOR_PORT}", f"127.0.0.1:{port}")
    text = text.replace("adwarm simulate ", f"adwarm simulate --port {port} ").replace(f" --port {SIMULATOR_PORT}", "")
    if block.language == "python":
        (checkout.folder / (block.file_name or "block.py")).write_text(text, encoding="utf-8")
        text = "" if block.file_name else "python block.py"
    elif not block.is_shell:
        return ""
    code, output = shell.run(text)
    return f"{block} ended with {code}:\n{output}" if code else ""


@pytest.mark.parametrize("page", find_pages_to_run(), ids=lambda page: page.relative_to(ROOT).as_posix())
def test_the_blocks_of_a_page_run(page: Path, shell: Shell, checkout: Checkout, free_port: int) -> None:
    """Every block of the page runs in its order, in one shell with a fresh home, except those that say why not."""
    runnable = [block for block in find_blocks(page) if block.reason is None]

    assert [error for block in runnable if (error := _run(shell, block, checkout, free_port))] == []


def test_the_next_steps_of_the_demo_run(shell: Shell, checkout: Checkout, free_port: int) -> None:
    """The commands that the demo prints at its end work as they stand, and plan and report that they show have rows."""
    steps = re.findall(r"^  (\S.*?) +# ", checkout.demo.partition("Next, in this shell")[2], re.MULTILINE)
    port = f"export ADWARM_SERVING__PORT={free_port} DEMO_REPORT=${{DEMO_REPORT/{SERVE_PORT}/{free_port}}}"
    commands = [steps[0], port, *(step for step in steps[1:] if step != "make up")]
    code, output = shell.run("\n".join(commands))

    assert code == 0, output
    assert steps[0] == "source .adwarm/demo/env"
    assert re.search(r"Plan at .* UTC: [1-9]\d* of 400 keys", output)
    assert re.search(r"^.*\bad_id\b.*\n.*2013-03-29", output, re.MULTILINE)


def test_the_sample_of_the_quickstart_is_what_the_demo_prints(checkout: Checkout) -> None:
    """Each figure of the sample is that of a run, but for its times; `python -m dev.demo_figures` writes them."""
    summary = json.loads((checkout.folder / ".adwarm/demo/summary.json").read_text(encoding="utf-8"))
    printed = checkout.demo[checkout.demo.index("Results") :]
    shown = json.loads(SUMMARY.read_text(encoding="utf-8"))

    assert "".join(f"{line.rstrip()}\n" for line in printed.splitlines()) == render_sample(summary, width=118)
    assert {**summary, "times": None} == {**shown, "times": None}
    assert summary["times"].keys() == shown["times"].keys()


def test_the_figures_are_in_the_summary_too(checkout: Checkout) -> None:
    """The table and summary.json agree on what was served without warming, and why."""
    summary = json.loads((checkout.folder / ".adwarm/demo/summary.json").read_text(encoding="utf-8"))
    served = summary["served"]
    waits = served["unread_without_warming"] + served["expired_without_warming"]

    assert waits == round(served["first_opens"] * (1 - served["first_open_hit_ratio_without_warming"]))
    assert f"{served['unread_without_warming']:,} of {served['first_opens']:,}" in " ".join(checkout.demo.split())
    assert subprocess.run(["bash", "-n", str(checkout.folder / ".adwarm/demo/env")], check=False).returncode == 0
