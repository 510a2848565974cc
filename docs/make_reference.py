"""Writes the generated parts of docs/reference, and the list of pages on the home, so that they cannot drift.

python docs/make_reference.py           writes the pages
python docs/make_reference.py --check   writes nothing; exits 1 when a page differs from the code

Either way it exits 1 when something public (a setting, column, option, parameter or exported name) is undocumented.
"""

import os
import sys
import tempfile
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
FOLDER = ROOT / "docs" / "reference"
sys.path[:0] = [str(ROOT), str(ROOT / "docs"), str(ROOT / "include"), str(ROOT / "plugins")]
sys.path.insert(0, str(ROOT / "clients/python"))


def pages() -> dict[Path, str]:
    """Return the text of each generated page or file, and of each page with generated blocks, by its path.

    Raises:
        Undocumented: something public has no description.
    """
    from reference_pages import (
        airflow_parts,
        api,
        commands,
        home,
        measured,
        metrics,
        openapi,
        settings,
        sizing,
        sources,
        tables,
    )
    from reference_pages.markdown import fill

    blocks = {
        "commands": commands.blocks(),
        "dags": airflow_parts.dag_blocks(ROOT / "dags"),
        "metrics": metrics.blocks(),
        "sizing": sizing.blocks(),
    }
    texts = {
        "settings": settings.page(),
        "tables": tables.page(),
        "measured": measured.page(),
        "sources": sources.page(),
        "operators": airflow_parts.operators_page(),
        "api": api.page(),
        "testing": api.testing_page(),
        **{name: fill((FOLDER / f"{name}.md").read_text("utf-8"), found) for name, found in blocks.items()},
    }
    start = FOLDER.parent / "README.md"
    return {
        **{FOLDER / f"{name}.md": text for name, text in texts.items()},
        FOLDER / "openapi.json": openapi.document(),
        start: fill(start.read_text("utf-8"), home.blocks(ROOT / "mkdocs.yml")),
    }


def main(arguments: list[str]) -> int:
    """Write the pages, or with `--check` only compare them; return the exit code."""
    from reference_pages.markdown import Undocumented

    try:
        texts = pages()
    except Undocumented as error:
        sys.stderr.write(f"{error}\n")
        return 1
    stale = {path: text for path, text in texts.items() if not path.is_file() or path.read_text("utf-8") != text}
    if "--check" in arguments:
        for path in stale:
            sys.stderr.write(f"{path.relative_to(ROOT)} is not up to date; run python docs/make_reference.py\n")
        return 1 if stale else 0
    for path, text in stale.items():
        path.write_text(text, encoding="utf-8")
        sys.stdout.write(f"wrote {path.relative_to(ROOT)}\n")
    return 0


if __name__ == "__main__":
    # Airflow reads its configuration when it is first imported; a scratch home keeps the user's own untouched.
    with tempfile.TemporaryDirectory(prefix="adwarm-docs-") as home:
        os.environ.update({
            "AIRFLOW_HOME": home,
            "AIRFLOW__CORE__LOAD_EXAMPLES": "False",
            "AIRFLOW__LOGGING__LOGGING_LEVEL": "ERROR",
        })
        code = main(sys.argv[1:])
    sys.exit(code)
