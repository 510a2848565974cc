"""One vocabulary: phrases that stay out of all prose, and words that stay out of new public names.

The glossary (docs/reference/glossary.md) has the words to use instead.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = ("include", "plugins", "dags", "dev", "tests", "docs", "examples", "clients/python")
CLIENT_PAGES = [ROOT / name / "README.md" for name in ("clients/typescript", "clients/python", "examples/dashboard")]
PAGES = sorted([*(ROOT / "docs").rglob("*.md"), *ROOT.glob("*.md"), *CLIENT_PAGES])

PHRASES = {
    r"of no account": "does not matter",
    r"standing orders?": "strategy",
    r"way through": "data flow, pipeline",
    r"the house": "the package, the product",
    r"(?:is|are|was|were) told": "receives, is given",
    r"crews?": "batch, workers",
    r"use to come": "usually arrive",
    r"looks? after": "maintain",
    r"in nobody's": "name the owner, or say what is not held",
    r"the time is over": "timed out",
    r"worth asking": "when to retry",
    r"what (?:came|became) of": "outcome, result",
    r"works? off": "drain, process",
    r"(?:every|each|heavy) rooms?": "package, module",
    r"the floors": "layers",
    r"(?:is|are|be) let in": "admitted",
    r"for ever": "forever",
}
"""Each phrase, as a regular expression, with what to say instead."""

_BETWEEN = r"[^a-z]+(?:[fru][^a-z]+)?"
"""What may stand between two words of a phrase in the source: a line's end, a comment's sign, two quotes."""

PRIVATE_WORDS = frozenset({
    "asked", "asking", "claimant", "course", "crew", "door", "found", "gist", "held", "house", "judge", "judged",
    "judgement", "judgment", "kept", "known", "lesson", "lessons", "made", "people", "person", "persons", "place",
    "places", "rhythm", "room", "seam", "standing", "terms", "told", "verdict", "wanted",
})  # fmt: skip
"""Word parts of names. Data fields (`reach` is the platform's), private names and ordinary prose are not concerned."""

ALLOWED = frozenset({
    "LeaseHeldElsewhere",
    "NotFound",
})
"""Public names that hold such a word today. Take names out as they are renamed; add none without a reason."""


def _sources(*folders: str) -> list[Path]:
    paths = (path for folder in folders for path in sorted((ROOT / folder).rglob("*.py")))
    return [p for p in paths if not {"__pycache__", "node_modules"} & set(p.parts) and p != Path(__file__)]


def _prose(source: str) -> str:
    """Return the comments and strings of Python source on one line; adjacent strings are joined."""
    pieces: list[str] = []
    before = tokenize.NEWLINE
    for token in tokenize.generate_tokens(io.StringIO(source).readline):
        if token.type in {tokenize.NL, tokenize.NEWLINE} and before in {tokenize.STRING, tokenize.COMMENT}:
            continue
        if token.type == tokenize.COMMENT:
            pieces.append(" " + token.string.lstrip("#:! "))
        elif token.type == tokenize.STRING:
            text = re.sub(r"^[a-zA-Z]*(\"{3}|'{3}|\"|')|(\"{3}|'{3}|\"|')$", "", token.string)
            pieces.append(text if before == tokenize.STRING else f" | {text}")
        elif getattr(tokenize, "FSTRING_MIDDLE", -1) == token.type:
            pieces.append(token.string)
        before = token.type
    return " ".join("".join(pieces).split())


def _offences(path: Path) -> Iterator[str]:
    """Yield each phrase in a page, or in the comments and strings of a Python file, with its line.

    Only files where the words follow each other in any way, also in code, are split into tokens: that takes long.
    """
    text = path.read_text(encoding="utf-8")
    lower = text.lower()
    for phrase, instead in PHRASES.items():
        if (match := re.search(phrase.replace(" ", _BETWEEN), lower)) is None:
            continue
        prose = " ".join(text.split()) if path.suffix == ".md" else _prose(text)
        if re.search(rf"\b{phrase}\b", prose, re.IGNORECASE):
            yield f"{path.relative_to(ROOT)}:{lower.count(chr(10), 0, match.start()) + 1}: say {instead!r}"


def test_phrases_stay_out_of_prose() -> None:
    """Docs, docstrings, comments, messages and help say it in plain words."""
    assert [offence for path in (*PAGES, *_sources(*CODE)) for offence in _offences(path)] == []


def test_a_phrase_is_found_wherever_it_breaks(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    """Across lines of a page, and across comments and adjacent strings; names, code and longer words do not count."""
    monkeypatch.setattr(f"{__name__}.ROOT", tmp_path)
    page, module = tmp_path / "page.md", tmp_path / "module.py"
    page.write_text("Plain.\nIt goes on for\n  ever.\n")
    module.write_text(
        'WAY = THROUGH = """Is\n    told."""\nx = ("Of no "\n  f"account {x}", "the houses")  # look\n# after\n'
    )

    assert list(_offences(page)) == ["page.md:2: say 'forever'"]
    assert list(_offences(module)) == [
        "module.py:3: say 'does not matter'", "module.py:1: say 'receives, is given'", "module.py:4: say 'maintain'",
    ]  # fmt: skip


def test_prose_is_read_from_comments_and_strings() -> None:
    """The reader sees comments and strings across lines, and neither names nor code."""
    source = 'def way_through():\n    """Is\n    told."""\n    x = ("of no "\n    "account")  # look\n    # after\n'

    assert _prose(source) == "| Is told. | of no account look after"


def _word_parts(name: str) -> set[str]:
    return {part.lower() for part in re.findall(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+|\d+", name)}


def _public_names(tree: ast.Module) -> Iterator[str]:
    """Yield the public top-level names of a module, and the public methods of its public classes as `Class.method`."""
    for node in tree.body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            yield node.name
        if isinstance(node, ast.ClassDef) and not node.name.startswith("_"):
            methods = (item for item in node.body if isinstance(item, ast.FunctionDef | ast.AsyncFunctionDef))
            yield from (f"{node.name}.{method.name}" for method in methods if not method.name.startswith("_"))
        if isinstance(node, ast.Assign | ast.AnnAssign):
            targets = node.targets if isinstance(node, ast.Assign) else [node.target]
            yield from (target.id for target in targets if isinstance(target, ast.Name))


def _private_language() -> set[str]:
    """Return the public names of the product that hold a private word; a method counts by its own name only."""
    names: set[str] = set()
    for path in _sources("include", "plugins", "clients/python"):
        if "versions" not in path.parts:
            names |= set(_public_names(ast.parse(path.read_text(encoding="utf-8"))))
    return {n for n in names if not n.startswith("_") and _word_parts(n.rpartition(".")[2]) & PRIVATE_WORDS}


def test_public_names_use_the_vocabulary() -> None:
    """No public name has a word of the private language, but those allowed, and the list of these can only shrink."""
    assert _private_language() == ALLOWED


def test_word_parts_are_split() -> None:
    """Names in snake case, camel case and capitals are split into words; a word inside another one does not count."""
    assert _word_parts("is_held") == {"is", "held"}
    assert _word_parts("HTTPVerdictError") == {"http", "verdict", "error"}
    assert _word_parts("DEFAULT_TERMS") == {"default", "terms"}
    assert not _word_parts("placeholder_makers") & PRIVATE_WORDS
