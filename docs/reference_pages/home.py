"""The list of pages on the documentation's home: the navigation of `mkdocs.yml`."""

from pathlib import Path
from typing import Any

import yaml
from site_hooks import ROOT_PAGES

INDEX_ONLY = {"Decision records"}
"""Groups of which the home names the first page alone; that page lists the others."""
_SOURCES = {page: f"../{name}" for name, page in ROOT_PAGES.items()}


def blocks(config: Path) -> dict[str, str]:
    """Return the generated block of the home."""
    navigation = yaml.safe_load(config.read_text(encoding="utf-8"))["nav"]
    return {"pages": "\n\n".join(text for item in navigation[1:] for text in _group(item, "##"))}


def _group(item: dict[str, Any], mark: str) -> list[str]:
    """Return a group of the navigation: its heading, its pages as a list, and the groups inside it."""
    ((title, members),) = item.items()
    pages = [line for member in members for line in _page(member)]
    inner = [text for member in members if _is_group(member) for text in _group(member, f"{mark}#")]
    return [f"{mark} {title}", *(["\n".join(pages)] if pages else []), *inner]


def _page(member: Any) -> list[str]:
    """Return the line of a page, or of a group of which only the first page is named; none for other groups."""
    if isinstance(member, str):
        return [f"- [Overview]({member})"]
    ((title, target),) = member.items()
    if title in INDEX_ONLY:
        return [f"- [{title}]({target[0]})"]
    return [f"- [{title}]({_SOURCES.get(target, target)})"] if isinstance(target, str) else []


def _is_group(member: Any) -> bool:
    """Return whether a member of the navigation is a group whose pages are listed."""
    is_page = isinstance(member, str) or any(isinstance(target, str) for target in member.values())
    return not is_page and not INDEX_ONLY & member.keys()
