"""The mutations of a module: the operators are cosmic-ray's; what cannot change a decision is left out by rule.

Left out, because such a mutant behaves as the code did, or fails at once and proves nothing about a rule:

- annotations, text (f-strings, what `raise` and a logger are given), `if TYPE_CHECKING`;
- keywords that no rule depends on: `frozen`, `slots`, `strict`, `kw_only`, `repr`, `copy`;
- identity in place of equality or order, and back: an enumeration's members have no order that a rule depends on;
- one more or less of a number of 1,000 and more: these bound memory and sizes;
- bit operators in place of arithmetic and back, which a float refuses; a decorator that is removed.
"""

import ast
import random
import re
from dataclasses import dataclass
from pathlib import Path

from cosmic_ray.ast import ast_nodes, get_ast
from cosmic_ray.ast.ast_query import ASTQuery
from cosmic_ray.mutating import mutate_code
from cosmic_ray.plugins import get_operator, operator_names

Position = tuple[int, int]
_KEYWORDS = {"frozen", "slots", "strict", "kw_only", "repr", "copy"}
_LARGE = 1_000
_LOGGERS = {"log", "logger", "logging", "_log", "_logger"}
_WITHOUT_OPERATOR = {
    "name",
    "newline",
    "string",
    "operator",
    "endmarker",
    "fstring",
}  # of parso; saves most of the time
_ARITHMETIC = "Add|Sub|Mul|Div|FloorDiv|Mod|Pow"
_LEFT_OUT = re.compile(
    r"RemoveDecorator|_Is_(?!IsNot$)|_IsNot_(?!Is$)|(?<!_Is)_IsNot$|(?<!_IsNot)_Is$|UnaryOperator_\w+_(UAdd|Invert)$"
    rf"|BinaryOperator_({_ARITHMETIC})_(?!({_ARITHMETIC})$)|BinaryOperator_(?!({_ARITHMETIC})_)\w+?_({_ARITHMETIC})$"
)


@dataclass(frozen=True, slots=True)
class Mutant:
    """One mutation of a module.

    Attributes:
        path: of the module, from `include/adwarm`.
        function: the class or function that holds it; empty at the top of the module.
        line: its line.
        operator: of cosmic-ray.
        before: the lines that differ, without indentation.
        after: the same lines in the mutant.
        code: the whole mutated module.
    """

    path: str
    function: str
    line: int
    operator: str
    before: str
    after: str
    code: str

    @property
    def key(self) -> tuple[str, str, str, str]:
        """What identifies the mutant after lines moved."""
        return (self.path, self.function, self.before, self.after)

    def __str__(self) -> str:
        return f"{self.path}:{self.line} {self.function}: {self.before}  ->  {self.after}"


def sample(root: Path, path: str, count: int, seed: int) -> list[Mutant]:
    """Return `count` mutants of a module, fewer if it has fewer places: places are drawn, then a mutation of each."""
    source, rng = (root / path).read_text(encoding="utf-8"), random.Random(f"{seed} {path}")
    places = _list_places(source)
    chosen = sorted(rng.sample(sorted(places), min(len(places), count)))
    return [_mutate(path, source, where, rng.choice(places[where])) for where in chosen]


def _list_places(source: str) -> dict[Position, list[tuple[str, int, str]]]:
    """Return the mutations of each place: operator, number of the occurrence, and function."""
    spans = _list_spans_left_out(source)
    operators = {name: get_operator(name) for name in operator_names() if not _LEFT_OUT.search(name)}
    operators = {name: operator() for name, operator in operators.items() if not operator.arguments()}
    occurrences = dict.fromkeys(operators, 0)
    places: dict[Position, list[tuple[str, int, str]]] = {}
    for node in ast_nodes(get_ast(source)):
        if node.type in _WITHOUT_OPERATOR:
            continue
        for name, operator in operators.items():
            for start, _ in operator.mutation_positions(node):
                if not any(first <= start < last for first, last in spans):
                    function = ASTQuery(node).get_definition_name() or ""
                    places.setdefault(start, []).append((name, occurrences[name], function))
                occurrences[name] += 1
    return places


def _mutate(path: str, source: str, where: Position, mutation: tuple[str, int, str]) -> Mutant:
    name, occurrence, function = mutation
    code = mutate_code(source, get_operator(name)(), occurrence)
    old, new = source.splitlines(), code.splitlines()
    first = next(number for number, (a, b) in enumerate(zip(old, new, strict=False)) if a != b)
    tail = next(number for number, (a, b) in enumerate(zip(old[::-1], new[::-1], strict=False)) if a != b)
    before, after = (" ".join(map(str.strip, lines[first : len(lines) - tail])) for lines in (old, new))
    return Mutant(path, function, where[0], name.removeprefix("core/"), before, after, code)


def _list_spans_left_out(source: str) -> list[tuple[Position, Position]]:
    lines = source.splitlines()
    spans = []
    for node in ast.walk(ast.parse(source)):
        for part in _parts_left_out(node):
            start = (part.lineno, len(lines[part.lineno - 1].encode()[: part.col_offset].decode()))
            end = (part.end_lineno, len(lines[part.end_lineno - 1].encode()[: part.end_col_offset].decode()))
            spans.append((start, end))
    return spans


def _parts_left_out(node: ast.AST) -> list[ast.AST]:
    match node:
        case ast.Raise() | ast.JoinedStr():
            return [node]
        case ast.Constant(value=int() | float() as value) if value >= _LARGE:
            return [node]
        case ast.BinOp(op=ast.Pow(), left=ast.Constant(), right=ast.Constant()):
            return [node]  # 10**9 is such a number too
        case ast.AnnAssign() | ast.arg():
            return [node.annotation] if node.annotation else []
        case ast.FunctionDef() | ast.AsyncFunctionDef():
            return [node.returns] if node.returns else []
        case ast.keyword() if node.arg in _KEYWORDS:
            return [node.value]
        case ast.Call(func=ast.Attribute(value=ast.Name(id=name))) if name in _LOGGERS:
            return [node]
        case ast.If(test=ast.Name(id="TYPE_CHECKING")):
            return [node]
        case ast.Assign(targets=[ast.Name(id=name)], value=value) if name == "__all__" or _is_type(name, value):
            return [node]
    return []


def _is_type(name: str, value: ast.expr) -> bool:
    """Whether an assignment defines a type: `Position = tuple[int, int]` or `Body = str | bytes`."""
    is_union = isinstance(value, ast.BinOp) and isinstance(value.op, ast.BitOr)
    return name[:1].isupper() and not name.isupper() and (is_union or isinstance(value, ast.Subscript))
