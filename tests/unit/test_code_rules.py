"""The code rules of CONTRIBUTING.md, checked by reading the source: sizes, names, errors, time, imports and tests."""

import ast
import graphlib
import re
import subprocess
import sys
from collections.abc import Callable, Iterable, Iterator
from functools import cache, lru_cache
from itertools import pairwise
from pathlib import Path

import grimp
import pytest
from vulture import Vulture

from adwarm.planning.rules import MORE, RULES
from tests.support.wall_clock import REAL

ROOT = Path(__file__).resolve().parents[2]
SHIPPED = ("include", "plugins", "dags", "dev", "clients/python")
PACKAGES = {
    "adwarm": "include",
    "adwarm_client": "clients/python",
    "graph_simulator": "include",
    "adwarm_airflow": "plugins",
}

FILE_LINES = 500
UNSORTED = {"include/adwarm/backpressure/concurrency.py"}
"""Modules in which constants still stand beside the functions that use them."""
FUNCTION_LINES = 60
DAG_LINES = 120
DAG_FUNCTION_LINES = 5
POSITIONAL_ARGUMENTS = 5
ANY_NUMBER = {
    "Index",
    "Table",
    "UniqueConstraint",
    "order_by",
    "run_in_executor",
    "select",
    "submit",
    "table_of",
    "where",
}
"""Functions of others that take any number of things."""
UNFORMATTED = 20
HEAVY_IMPORTS = {"pandas", "numpy", "sqlalchemy", "pyarrow", "airflow"}

EMPTY = {"asked", "found", "kept", "known", "wanted"}
"""Names that say that something is there, and not what it is."""
ARTICLES = {"a", "an", "it", "its", "is", "of", "the", "to"}
ITEM = re.compile(r"^    (\w+): ([A-Za-z' ]+)\.$", re.MULTILINE)
"""A line of a section of a docstring, in words alone."""
VAGUE = {"util", "utils", "helper", "helpers", "common", "manager", "managers", "misc"}
UNSAFE_STORES = {"pickle", "cPickle", "dill", "cloudpickle", "joblib", "shelve", "marshal"}
WALL_CLOCK = {
    "datetime.now",
    "datetime.utcnow",
    "datetime.today",
    "date.today",
    "time.time",
    "time.time_ns",
    "time.sleep",
}
GENERATORS = {"random.Random", "random.SystemRandom"}
SEEDED = {"random.default_rng", "random.Generator", "random.SeedSequence", "random.PCG64"}
OWN_CLOCK = {
    "include/adwarm/foundation/clock.py",
    "include/graph_simulator/platform_clock.py",
    "dev/simulator_process.py",  # waits for a real process
    "dev/up.py",  # waits for real processes
}
UNUSED_ALLOWED = Path(__file__).with_name("unused_allowed.txt")
FRAMEWORK_DECORATORS = ["@app.*", "@*router.*", "@event.*", "@field_validator", "@model_validator"]
"""Functions with these decorators are called by typer, FastAPI, SQLAlchemy or pydantic."""

ASSERTING = ("assert", "check", "expect", "raises", "warns", "fail", "run_state_machine")

Function = ast.FunctionDef | ast.AsyncFunctionDef
Rule = Callable[[ast.AST], list[str]]


@lru_cache
def _sources(*folders: str) -> tuple[Path, ...]:
    found = (path for folder in folders for path in sorted((ROOT / folder).rglob("*.py")))
    return tuple(path for path in found if not {"__pycache__", "node_modules"} & set(path.parts))


@cache
def _tree(path: Path) -> ast.Module:
    return ast.parse(path.read_text(encoding="utf-8"), filename=str(path))


def _lines(path: Path) -> int:
    return len(path.read_text(encoding="utf-8").splitlines())


def _name(path: Path) -> str:
    return path.relative_to(ROOT).as_posix()


def _functions(tree: ast.AST) -> Iterator[Function]:
    """Yield the functions of a tree, nested ones too; expressions are passed over, since they hold none."""
    for field in ("body", "handlers", "orelse", "finalbody", "cases"):
        children = getattr(tree, field, ())
        for node in children if isinstance(children, list) else ():
            if isinstance(node, Function):
                yield node
            yield from _functions(node)


@cache
def _nodes(tree: ast.AST) -> tuple[ast.AST, ...]:
    return tuple(ast.walk(tree))


def _dotted(node: ast.AST) -> str:
    if isinstance(node, ast.Attribute):
        return f"{_dotted(node.value)}.{node.attr}"
    return node.id if isinstance(node, ast.Name) else ""


def _imported(tree: ast.AST) -> Iterator[str]:
    for node in _nodes(tree):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.module and not node.level:
            yield node.module


def _imported_for_types(tree: ast.AST) -> list[str]:
    """Return what is imported under `if TYPE_CHECKING`."""
    blocks = (node for node in _nodes(tree) if isinstance(node, ast.If) and _dotted(node.test) == "TYPE_CHECKING")
    return [name for block in blocks for name in _imported(block)]


def _long_functions(tree: ast.AST) -> list[str]:
    return [f.name for f in _functions(tree) if (f.end_lineno or f.lineno) - f.lineno >= FUNCTION_LINES]


def _long_dag_functions(tree: ast.AST) -> list[str]:
    """Functions with too many lines of their own; docstrings and nested functions do not count."""

    def length(function: Function) -> int:
        body = function.body[1:] if ast.get_docstring(function) is not None else function.body
        own = (node for node in body if not isinstance(node, Function))
        return sum((node.end_lineno or node.lineno) - node.lineno + 1 for node in own)

    return [f.name for f in _functions(tree) if length(f) > DAG_FUNCTION_LINES]


def _many_positional_arguments(tree: ast.AST) -> list[str]:
    """Calls that pass many arguments by position: nobody sees there which is which."""
    calls = [node for node in _nodes(tree) if isinstance(node, ast.Call)]
    many = [call for call in calls if sum(not isinstance(arg, ast.Starred) for arg in call.args) > POSITIONAL_ARGUMENTS]
    names = [(_dotted(call.func).rpartition(".")[2] or ast.unparse(call.func), call.lineno) for call in many]
    return [f"{name}, line {line}" for name, line in names if name not in ANY_NUMBER | _functions_of_any_number()]


@cache
def _functions_of_any_number() -> frozenset[str]:
    """Return the names of our own functions that take any number of values."""
    functions = (function for path in _sources(*SHIPPED) for function in _functions(_tree(path)))
    return frozenset(function.name for function in functions if function.args.vararg)


def _many_positional_parameters(tree: ast.AST) -> list[str]:
    """Functions with too many positional parameters: the options of a command are keyword-only."""
    return [f.name for f in _functions(tree) if len(f.args.posonlyargs) + len(f.args.args) > POSITIONAL_ARGUMENTS + 1]


def _asserts(tree: ast.AST) -> list[str]:
    return [f"line {node.lineno}" for node in _nodes(tree) if isinstance(node, ast.Assert)]


def _unfinished(tree: ast.AST) -> list[str]:
    raised = ((node.lineno, node.exc) for node in _nodes(tree) if isinstance(node, ast.Raise) and node.exc)
    named = ((line, error.func if isinstance(error, ast.Call) else error) for line, error in raised)
    return [f"line {line}" for line, error in named if _dotted(error) == "NotImplementedError"]


def _silent_handlers(tree: ast.AST) -> list[str]:
    """Handlers that do nothing, or that catch everything and neither raise, log nor use the error."""

    def silent(handler: ast.ExceptHandler) -> bool:
        if handler.type is None or all(isinstance(node, ast.Pass) or _is_ellipsis(node) for node in handler.body):
            return True
        if _dotted(handler.type) not in {"Exception", "BaseException"}:
            return False
        inside = [node for statement in handler.body for node in ast.walk(statement)]
        used = any(isinstance(node, ast.Name) and node.id == handler.name for node in inside)
        logged = any(isinstance(node, ast.Call) and _dotted(node.func).endswith(".exception") for node in inside)
        return not used and not logged and not any(isinstance(node, ast.Raise) for node in inside)

    handlers = [node for node in _nodes(tree) if isinstance(node, ast.ExceptHandler)]
    suppressed = [
        node
        for node in _nodes(tree)
        if isinstance(node, ast.Call)
        and _dotted(node.func).endswith("suppress")
        and {_dotted(argument) for argument in node.args} & {"Exception", "BaseException"}
    ]
    return [f"line {node.lineno}" for node in (*filter(silent, handlers), *suppressed)]


def _is_ellipsis(node: ast.AST) -> bool:
    return isinstance(node, ast.Expr) and isinstance(node.value, ast.Constant) and node.value.value is ...


def _unsafe_stores(tree: ast.AST) -> list[str]:
    imports = [name for name in _imported(tree) if name.split(".")[0] in UNSAFE_STORES]
    calls = [node.attr for node in _nodes(tree) if isinstance(node, ast.Attribute) and "pickle" in node.attr]
    return imports + calls


def _wall_clock(tree: ast.AST) -> list[str]:
    """Calls that read the clock or the global random generator. A generator created from a seed is fine."""
    calls = (node for node in _nodes(tree) if isinstance(node, ast.Call))
    found = []
    for node in calls:
        name = ".".join(_dotted(node.func).split(".")[-2:])
        seeded = name in SEEDED and bool(node.args)
        if name in WALL_CLOCK or (name.startswith("random.") and name not in GENERATORS and not seeded):
            found.append(f"{name} in line {node.lineno}")
    return found


def _clock_of_tests(tree: ast.AST) -> list[str]:
    """Readings of the machine's clock outside functions that have `real_clock` in their names."""
    allowed = {id(node) for f in _functions(tree) if REAL in f.name for node in ast.walk(f)}
    calls = (node for node in _nodes(tree) if isinstance(node, ast.Call) and id(node) not in allowed)
    names = ((".".join(_dotted(node.func).split(".")[-2:]), node.lineno) for node in calls)
    return [f"{name} in line {line}" for name, line in names if name in WALL_CLOCK - {"time.sleep"}]


def _airflow_imports(tree: ast.AST) -> list[str]:
    return [name for name in _imported(tree) if name.split(".")[0] in {"airflow", "adwarm_airflow"}]


def _stray_docstrings(tree: ast.AST) -> list[str]:
    """Strings that document nothing: they follow neither the head of what they stand in nor an assignment."""
    found = []
    for node in _nodes(tree):
        body = getattr(node, "body", None)
        for before, after in pairwise(body if isinstance(body, list) else []):
            is_text = isinstance(after, ast.Expr) and isinstance(after.value, ast.Constant)
            if is_text and isinstance(after.value.value, str) and not isinstance(before, ast.Assign | ast.AnnAssign):
                found.append(f"line {after.lineno}")
    return found


def _vague_names(tree: ast.AST) -> list[str]:
    named = (node.name for node in _nodes(tree) if isinstance(node, ast.ClassDef))
    return [name for name in named if re.search(r"(Manager|Helper|Util|Utils)$", name)]


def _empty_names(tree: ast.AST) -> list[str]:
    """Variables, parameters, fields and attributes that are not named for what they hold."""
    named = [(node.arg, node.lineno) for node in _nodes(tree) if isinstance(node, ast.arg)]
    for node in _nodes(tree):
        if isinstance(node, ast.Name | ast.Attribute) and isinstance(node.ctx, ast.Store):
            named.append((node.id if isinstance(node, ast.Name) else node.attr, node.lineno))
    return [f"{name}, line {line}" for name, line in named if name.strip("_") in EMPTY]


def _lines_without_content(tree: ast.AST) -> list[str]:
    """Lines of docstrings' sections that say nothing but the name and the type."""
    repeating = []
    for node in _nodes(tree):
        if isinstance(node, Function | ast.ClassDef) and (text := ast.get_docstring(node)) is not None:
            types = _types(node)
            for name, line in ITEM.findall(text):
                if _words(line) <= _words(f"{name} {types.get(name, '')}") | ARTICLES:
                    repeating.append(f"{node.name}, {name}: {line}")
    return repeating


def _types(node: Function | ast.ClassDef) -> dict[str, str]:
    """Return the annotations of a function's parameters, or of a class's fields and what creates it."""
    if isinstance(node, Function):
        arguments = (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)
        return {item.arg: ast.unparse(item.annotation) for item in arguments if item.annotation is not None}
    fields = (item for item in node.body if isinstance(item, ast.AnnAssign))
    types = {_dotted(item.target): ast.unparse(item.annotation) for item in fields}
    for item in node.body:
        if isinstance(item, Function) and item.name == "__init__":
            types |= _types(item)
    return types


def _words(text: str) -> set[str]:
    """Return the words of a text or an identifier, in lower case and in the singular."""
    words = re.findall(r"[A-Z]?[a-z]+|[A-Z]+(?![a-z])", text)
    lower = {word.lower() for word in words}
    return {word if word in ARTICLES or len(word) < 3 else word.removesuffix("s") for word in lower}


def _offences(rule: Rule, paths: Iterable[Path]) -> dict[str, list[str]]:
    found = {_name(path): rule(_tree(path)) for path in paths}
    return {name: offences for name, offences in found.items() if offences}


BREACHES: list[tuple[Rule, str]] = [
    (_many_positional_arguments, "f(a, b, c, d, e, f)"),
    (_many_positional_arguments, "a.f(a, b, c, d, e, f, g=g)"),
    (_many_positional_parameters, "def f(a, b, c, d, e, f, g): ..."),
    (_long_functions, "def f():\n" + "    x = 1\n" * FUNCTION_LINES),
    (_long_dag_functions, "def f():\n    'Doc.'\n" + "    x = 1\n" * (DAG_FUNCTION_LINES + 1)),
    (_asserts, "assert True"),
    (_unfinished, "raise NotImplementedError('later')"),
    (_silent_handlers, "try:\n    f()\nexcept:\n    log()"),
    (_silent_handlers, "try:\n    f()\nexcept ValueError:\n    pass"),
    (_silent_handlers, "try:\n    f()\nexcept Exception:\n    x = 1"),
    (_silent_handlers, "with suppress(Exception):\n    f()"),
    (_unsafe_stores, "import pickle"),
    (_unsafe_stores, "frame.to_pickle('x')"),
    (_wall_clock, "from datetime import datetime\ndatetime.now(UTC)"),
    (_wall_clock, "import time\ntime.sleep(1)"),
    (_wall_clock, "import random\nrandom.random()"),
    (_wall_clock, "import numpy as np\nnp.random.default_rng()"),
    (_clock_of_tests, "def test_days():\n    datetime.now(UTC)"),
    (_airflow_imports, "def f():\n    from airflow.sdk import DAG"),
    (_stray_docstrings, 'A = 1\n"""Of A."""\n"""Of what?"""'),
    (_vague_names, "class CacheManager: ..."),
    (_empty_names, "for found in rows: f(found)"),
    (_empty_names, "def f(*, wanted): ..."),
    (_empty_names, "class A:\n known: int = 0"),
    (_empty_names, "self._kept = {}"),
    (_lines_without_content, 'def f(account_id: str):\n """F.\n\n Args:\n     account_id: the account.\n """'),
    (_lines_without_content, 'class A:\n """A.\n\n Attributes:\n     keys: the reports.\n """\n keys: list[ReportKey]'),
]


def test_each_rule_can_fail() -> None:
    """Each rule reports code that breaks it."""
    assert [source for rule, source in BREACHES if not rule(ast.parse(source))] == []


def test_functions_are_found_wherever_they_stand() -> None:
    """Functions in classes, branches, loops, handlers and cases are found, each once."""
    source = (
        "class A:\n def a(self):\n  def b(): ...\nif x:\n pass\nelse:\n async def c(): ...\n"
        "for i in x:\n def d(): ...\n"
        "try:\n def e(): ...\nexcept E:\n def f(): ...\nfinally:\n def g(): ...\nwith x:\n def h(): ...\n"
        "match x:\n case 1:\n  def i(): ...\n"
    )

    assert [function.name for function in _functions(ast.parse(source))] == list("abcdefghi")


def test_files_stay_small() -> None:
    """No file is longer than the limit."""
    lengths = {_name(p): _lines(p) for p in _sources(*SHIPPED)}

    assert {name: length for name, length in lengths.items() if length > FILE_LINES} == {}


def _late_constants(path: Path) -> list[str]:
    """Return the constants below the third function or class of a module that need none of what it defines."""
    defined: set[str] = set()
    definitions, late = 0, []
    for node in _tree(path).body:
        if isinstance(node, ast.FunctionDef | ast.AsyncFunctionDef | ast.ClassDef):
            defined.add(node.name)
            definitions += 1
        elif isinstance(node, ast.Assign | ast.AnnAssign) and node.value is not None:
            target = node.targets[0] if isinstance(node, ast.Assign) else node.target
            needs = {_dotted(item) for item in ast.walk(node.value) if isinstance(item, ast.Name)}
            if needs & (defined | {"globals"}) or (isinstance(node, ast.AnnAssign) and _types_of(node) & defined):
                defined |= {item.id for item in ast.walk(target) if isinstance(item, ast.Name)}
            elif definitions >= 3:
                late.append(ast.unparse(target))
    return late


def _types_of(node: ast.AnnAssign) -> set[str]:
    return {item.id for item in ast.walk(node.annotation) if isinstance(item, ast.Name)}


def test_constants_stand_on_top() -> None:
    """A module is one idea, whose constants come first; only those made of its functions and classes follow them."""
    paths = [path for path in _sources("include/adwarm") if _name(path) not in UNSORTED]
    assert {_name(path): names for path in paths if (names := _late_constants(path))} == {}


@pytest.fixture(scope="module")
def shipped() -> list[Path]:
    """Files of the shipped code, parsed once for all rules."""
    sources = list(_sources(*SHIPPED))
    assert all(map(_tree, sources))
    return sources


def test_functions_stay_small(shipped: list[Path]) -> None:
    """No function is longer than the limit."""
    assert _offences(_long_functions, shipped) == {}


def test_dag_files_only_declare() -> None:
    """A DAG file is short, and its functions only call the package."""
    sources = _sources("dags")

    assert {_name(path): _lines(path) for path in sources if _lines(path) > DAG_LINES} == {}
    assert _offences(_long_dag_functions, sources) == {}


def test_shipped_code_obeys(shipped: list[Path]) -> None:
    """Shipped code has no assert, NotImplementedError, swallowed error, pickle, stray docstring or vague class name."""
    rules = (_asserts, _unfinished, _silent_handlers, _unsafe_stores, _stray_docstrings, _vague_names)

    assert {rule.__name__: found for rule in rules if (found := _offences(rule, shipped))} == {}


def test_no_comment_postpones_work() -> None:
    """Shipped code has no TODO, FIXME, XXX or HACK."""
    marks = re.compile(r"#.*\b(TODO|FIXME|XXX|HACK)\b")
    sources = _sources(*SHIPPED)

    assert [_name(path) for path in sources if marks.search(path.read_text(encoding="utf-8"))] == []


def test_clocks_and_random_generators_are_injected() -> None:
    """Only the clock module reads the system clock; nothing draws from the global random generator."""
    sources = [path for path in _sources("include", "plugins", "dev") if _name(path) not in OWN_CLOCK]

    assert _offences(_wall_clock, sources) == {}


def test_tests_read_the_clock_through_the_product() -> None:
    """A date that a test took from the machine would pass on some days only: `SystemClock` shows it a fixed one."""
    folders = ("tests/unit", "tests/simulation")
    calls = tuple(f"{name}(" for name in WALL_CLOCK)
    candidates = (path for path in _sources(*folders) if REAL not in path.name)
    sources = [path for path in candidates if any(call in path.read_text("utf-8") for call in calls)]

    assert _offences(_clock_of_tests, sources) == {}


def test_the_core_does_not_import_airflow() -> None:
    """Nothing under include/ imports Airflow or the adapters, not even inside a function."""
    assert _offences(_airflow_imports, _sources("include")) == {}


def test_names_say_what_is_inside() -> None:
    """No module or folder is called utils, helpers, common or manager."""
    folders = (*SHIPPED, "tests", "docs", "examples")
    parts = {part for path in _sources(*folders) for part in path.relative_to(ROOT).with_suffix("").parts}

    assert [part for part in sorted(parts) if VAGUE & set(part.lower().split("_"))] == []


def test_variables_say_what_they_hold(shipped: list[Path]) -> None:
    """No variable, parameter or field is called found, known, wanted, kept or asked."""
    assert _offences(_empty_names, shipped) == {}, (
        "name each for what it holds, such as `rows`, `accounts`, `has_spend`"
    )


def test_docstrings_say_more_than_names_and_types(shipped: list[Path]) -> None:
    """No line of a section of a docstring repeats the name and the type alone."""
    assert _offences(_lines_without_content, shipped) == {}, "delete each, or say a unit, a shape, a condition"


def test_arguments_are_named_where_they_are_many(shipped: list[Path]) -> None:
    """No call passes more than five arguments by position, constructors included; options of commands are named."""
    assert _offences(_many_positional_arguments, shipped) == {}
    assert _offences(_many_positional_parameters, (ROOT / "include/adwarm/cli").glob("*.py")) == {}


def test_the_formatter_is_rarely_switched_off() -> None:
    """Few statements are exempt from the formatter."""
    marks = {_name(path): path.read_text(encoding="utf-8").count("# fmt: ") for path in _sources(*SHIPPED)}

    assert sum(marks.values()) <= UNFORMATTED, {name: count for name, count in marks.items() if count}


def test_no_modules_import_each_other() -> None:
    """The modules can be ordered so that each imports only modules before it, also inside functions and for types."""
    graph = grimp.build_graph(*PACKAGES, cache_dir=None)
    imports = {module: graph.find_modules_directly_imported_by(module) for module in graph.modules}

    assert len(imports) > 100
    try:
        graphlib.TopologicalSorter(imports).prepare()
    except graphlib.CycleError as error:
        pytest.fail(f"a cycle of imports: {' <- '.join(error.args[1])}")


def test_modules_of_one_package_import_each_other_as_they_are() -> None:
    """No module of the core hides the import of one of its own package behind `TYPE_CHECKING`."""
    hidden = {
        _name(path): names
        for path in _sources("include/adwarm")
        for package in [f"adwarm.{path.relative_to(ROOT / 'include/adwarm').parts[0]}."]
        if (names := [name for name in _imported_for_types(_tree(path)) if name.startswith(package)])
    }

    assert hidden == {}
    assert _imported_for_types(ast.parse("if TYPE_CHECKING:\n    from adwarm.store import x")) == ["adwarm.store"]


def test_importing_the_package_loads_nothing_heavy() -> None:
    """`import adwarm` loads no pandas, NumPy, SQLAlchemy, PyArrow or Airflow."""
    done = subprocess.run(
        [sys.executable, "-c", "import sys, adwarm; print(*sorted(sys.modules))"],
        env={"PYTHONPATH": str(ROOT / "include"), "PATH": ""},
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )

    assert HEAVY_IMPORTS & set(done.stdout.split()) == set()


@pytest.mark.slow
def test_nothing_is_unused() -> None:
    """Every function, class, method and field is used, except the names on the reviewed list, each with its reason."""
    lines = UNUSED_ALLOWED.read_text(encoding="utf-8").splitlines()
    reasons = dict(line.split(maxsplit=1) for line in lines if line and not line.startswith("#"))
    vulture = Vulture(ignore_decorators=FRAMEWORK_DECORATORS)
    vulture.scavenge([str(ROOT / name) for name in SHIPPED])
    unused = {item.name: f"{_name(Path(item.filename))}:{item.first_lineno}" for item in vulture.get_unused_code(60)}

    sentences = " ".join([*MORE.values(), *(rule.sentence for rules in RULES.values() for rule in rules)])
    named = {name for words in re.findall(r"{([\w.]+)", sentences) for name in words.split(".")}
    assert {name: place for name, place in unused.items() if name not in {*reasons, *named}} == {}
    assert sorted(set(reasons) - set(unused)) == [], "used or gone; delete these lines from the list"


@pytest.fixture(scope="module")
def tests() -> list[tuple[Path, Function]]:
    """Each test function with its file; all files of tests are parsed once."""
    paths = [path for path in _sources("tests") if path.name.startswith("test_")]
    return [(path, f) for path in paths for f in _functions(_tree(path)) if f.name.startswith("test_")]


@cache
def _asserting(path: Path) -> frozenset[str]:
    """Return the names of the functions of a file that have an assert."""
    lines = path.read_text(encoding="utf-8").splitlines()
    asserts = [number for number, line in enumerate(lines, 1) if line.lstrip().startswith("assert ")]
    functions = [(f.name, f.lineno, f.end_lineno or f.lineno) for f in _functions(_tree(path))]
    return frozenset(name for name, first, last in functions if any(first <= number <= last for number in asserts))


def _proves_something(path: Path, function: Function) -> bool:
    """A test proves something when it asserts, expects an error, or calls an asserting function of its module."""
    if function.name in _asserting(path):
        return True
    calls = (_dotted(node.func).split(".")[-1] for node in ast.walk(function) if isinstance(node, ast.Call))
    return any(name in _asserting(path) or name.lstrip("_").startswith(ASSERTING) for name in calls)


def test_every_test_says_what_it_proves_and_proves_it(tests: list[tuple[Path, Function]]) -> None:
    """Each test has a docstring, and asserts or expects an error."""
    assert [f"{_name(path)}:{f.lineno} has no docstring" for path, f in tests if not ast.get_docstring(f)] == []
    assert [f"{_name(path)}:{f.lineno} proves nothing" for path, f in tests if not _proves_something(path, f)] == []


def test_what_tests_share_has_one_place() -> None:
    """What several folders of tests import stands in `tests/support`, which holds no test itself."""
    assert [path.name for path in (ROOT / "tests").glob("*.py")] == ["conftest.py"]
    assert not list((ROOT / "tests/support").rglob("test_*.py"))
    assert [path.name for path in (ROOT / "tests/unit/support").glob("*.py") if not path.name.startswith("test_")] == []


def test_tests_read_no_log_and_do_not_sleep(tests: list[tuple[Path, Function]]) -> None:
    """No test reads captured logs, and no unit test sleeps."""
    logged = [f"{_name(path)}:{f.lineno}" for path, f in tests if "caplog" in {arg.arg for arg in f.args.args}]
    may_sleep = (path for path in _sources("tests/unit") if "sleep" in path.read_text(encoding="utf-8"))
    slept = _offences(lambda tree: [node for node in _wall_clock(tree) if node.startswith("time.sleep")], may_sleep)

    assert logged == []
    assert slept == {}
