"""Hooks of the documentation site: pages of the root, links out of docs/, order of the search, no remote resources."""

import posixpath
import re
from pathlib import Path
from typing import Any

from mkdocs.exceptions import PluginError
from mkdocs.structure.files import File, Files

ROOT = Path(__file__).resolve().parents[1]
ROOT_PAGES = {
    "CONTRIBUTING.md": "project/contributing.md",
    "SECURITY.md": "project/security.md",
    "CHANGELOG.md": "project/changelog.md",
}
LAST_BOOST = 0.0001
"""What a match counts on the decisions, pages of the root, the home, and pages that are generated whole: even one in a
title, which counts a thousand times, comes after the others."""
BOOSTS = {
    "quickstart": 4.0,
    "how-to/runbook/": 2.5,
    "how-to/": 4.0,
    "explanation/decisions": LAST_BOOST,
    "explanation/": 2.0,
    "reference/": 1.0,
}
"""How much more a match counts in the search, by the first that fits: how-to before explanation and reference."""
_RESOURCE = re.compile(
    r"<(?:script|link(?![^>]*rel=.?(?:canonical|next|prev)\b)|img|iframe|source)\b"
    r"[^>]*\b(?:src|href)=[\"']?(?:https?:)?//[^>]*>"
)
_LINK = re.compile(r"(?P<text>\[[^\]]*\])\((?P<path>[^)\s:#]+)(?P<anchor>#[^)\s]*)?\)")


def on_files(files: Files, *, config: Any) -> Files:
    """Add the pages of the repository's root to the site."""
    for name, page in ROOT_PAGES.items():
        files.append(File.generated(config, page, content=(ROOT / name).read_text(encoding="utf-8")))
    return files


def on_page_markdown(markdown: str, *, page: Any, **_: Any) -> str:
    """Return the page with its links to files outside docs/ pointed at their page in the site, or unlinked.

    The page gets its place in the search, too.
    """
    here = page.file.src_uri
    boost = next((boost for start, boost in BOOSTS.items() if here.startswith(start)), LAST_BOOST)
    page.meta["search"] = {"boost": LAST_BOOST if markdown.startswith("<!-- Generated") else boost}
    source = next((name for name, target in ROOT_PAGES.items() if target == here), f"docs/{here}")
    return _LINK.sub(lambda match: _link(match, source, here), markdown)


def on_post_build(*, config: Any) -> None:
    """Check that no page loads a script, style sheet, font or image from another host.

    Raises:
        PluginError: a page does.
    """
    for path in Path(config.site_dir).rglob("*.html"):
        if remote := _RESOURCE.search(path.read_text(encoding="utf-8")):
            raise PluginError(f"{path.name} loads from another host: {remote[0][:200]}")


def _link(match: re.Match[str], source: str, here: str) -> str:
    target = posixpath.normpath(posixpath.join(posixpath.dirname(source), match["path"]))
    inside = ROOT_PAGES.get(target) or (target.removeprefix("docs/") if target.startswith("docs/") else None)
    if inside is None:
        return f"{match['text'].strip('[]')} (`{target}` in the repository)"
    relative = posixpath.relpath(inside, posixpath.dirname(here) or ".")
    return f"{match['text']}({relative}{match['anchor'] or ''})"
