"""One vocabulary: phrases that stay out of all prose, and words that stay out of new public names.

The glossary (docs/reference/glossary.md) has the words to use instead.
"""

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import pytest

ROOT = Path(__file__).resolve().parents[2]
CODE = ("include", "plugins", "dags", "dev", "tests", "docs", "examples")
CLIENT_PAGES = [ROOT / "clients/typescript/README.md", ROOT / "examples/dashboard/README.md"]
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

PRIVATE_WORDS = frozenset({
    "asked", "asking", "claimant", "course", "crew", "door", "found", "gist", "held", "house", "judge", "judged",
    "judgement", "judgment", "kept", "known", "lesson", "lessons", "made", "people", "person", "persons", "place",
    "places", "rhythm", "room", "seam", "standing", "terms", "told", "verdict", "wanted",
})  # fmt: skip
"""Word parts of names. Data fields (`reach` is the platform's), private names and ordinary prose are not concerned."""

ALLOWED = frozenset({
    "LeaseHeldElsewhere",
    "NotFound",
    "is_held_out",  # the standard term of experiments
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


@cache
def _texts() -> dict[Path, str]:
    """Return the prose of each page and each Python file."""
    texts = {path: path.read_text(encoding="utf-8") for path in PAGES}
    return texts | {path: _prose(path.read_text(encoding="utf-8")) for path in _sources(*CODE)}


def _hits(phrase: str) -> dict[str, int]:
    pattern = re.compile(rf"\b{phrase.replace(' ', chr(92) + 's+')}\b", re.IGNORECASE)
    counts = {path.relative_to(ROOT).as_posix(): len(pattern.findall(text)) for path, text in _texts().items()}
    return {name: count for name, count in counts.items() if count}


@pytest.mark.parametrize("phrase", PHRASES)
def test_phrases_stay_out_of_prose(phrase: str) -> None:
    """Docs, docstrings, comments, messages and help say it in plain words."""
    hits = _hits(phrase)

    assert hits == {}, f"say {PHRASES[phrase]!r} instead"


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
    for path in _sources("include", "plugins"):
        if "versions" not in path.parts:
            names |= set(_public_names(ast.parse(path.read_text(encoding="utf-8"))))
    return {n for n in names if not n.startswith("_") and _word_parts(n.rpartition(".")[2]) & PRIVATE_WORDS}


def test_public_names_use_the_vocabulary() -> None:
    """No new public function, class, constant or method has a word of the private language in its name."""
    assert sorted(_private_language() - ALLOWED) == []


def test_no_name_is_allowed_for_nothing() -> None:
    """The list of allowed names holds only names that exist, so that it can only shrink."""
    assert sorted(ALLOWED - _private_language()) == []


def test_word_parts_are_split() -> None:
    """Names in snake case, camel case and capitals are split into words; a word inside another one does not count."""
    assert _word_parts("is_held") == {"is", "held"}
    assert _word_parts("HTTPVerdictError") == {"http", "verdict", "error"}
    assert _word_parts("DEFAULT_TERMS") == {"default", "terms"}
    assert not _word_parts("placeholder_makers") & PRIVATE_WORDS
