"""`make licences`: the licence of every runtime dependency, checked against `dev/licences.toml`, as a page."""

import re
import sys
import tomllib
from dataclasses import dataclass
from functools import cache
from importlib.metadata import PackageNotFoundError, metadata
from pathlib import Path
from typing import Any

from license_expression import ExpressionError, Licensing  # type: ignore[import-untyped]

from dev.locked import ROOT, LockedPackage, read_lock

RULES = ROOT / "dev" / "licences.toml"
PAGE = ROOT / "docs" / "reference" / "licences.md"
HEAD = """# Licences of dependencies

adwarm is [Apache-2.0](https://spdx.org/licenses/Apache-2.0.html). It contains no code of its dependencies; they are
installed beside it. `make licences` writes this page from `requirements.txt`, which holds every extra, and fails when
a package has a licence that `dev/licences.toml` does not allow, or none that it can tell. It reads what packages say
about themselves, and is no legal advice.

"""


@dataclass(frozen=True)
class Rules:
    """What `dev/licences.toml` says.

    Attributes:
        aliases: words of package metadata, and the identifier they stand for.
        packages: the licence of packages that do not say it themselves.
        exceptions: packages that are accepted with another licence, and why.
    """

    allowed: frozenset[str]
    aliases: dict[str, str]
    packages: dict[str, str]
    exceptions: dict[str, str]


@cache
def load_rules(path: Path = RULES) -> Rules:
    """Return the rules."""
    document = tomllib.loads(path.read_text(encoding="utf-8"))
    return Rules(frozenset(document["allowed"]), document["aliases"], document["packages"], document["exceptions"])


def find_licence(package: str, rules: Rules) -> str | None:
    """Return the licence of a package as an SPDX expression; None when neither the rules nor the package say it."""
    if package in rules.packages:
        return rules.packages[package]
    try:
        headers: Any = metadata(package)
    except PackageNotFoundError:
        return None
    if expression := headers.get("License-Expression"):
        return str(expression)
    words = [line.split(" :: ")[-1] for line in headers.get_all("Classifier") or [] if line.startswith("License ::")]
    names = {rules.aliases.get(word) for word in words or [headers.get("License") or ""]}
    stated = (headers.get("License") or "").strip()
    if not words and stated in rules.allowed:
        return stated
    return names.pop() if len(names) == 1 else None


def is_allowed(expression: str, allowed: frozenset[str]) -> bool:
    """Return whether every part of an AND, and one part of an OR, is allowed."""
    try:
        parsed: Any = Licensing().parse(expression)
    except ExpressionError:
        return False
    return _holds(parsed, allowed)


def _holds(node: Any, allowed: frozenset[str]) -> bool:
    operator = (getattr(node, "operator", "") or "").strip().upper()
    if operator not in {"AND", "OR"}:
        return str(node) in allowed
    parts = [_holds(part, allowed) for part in node.args]
    return all(parts) if operator == "AND" else any(parts)


def check(packages: list[LockedPackage], rules: Rules) -> tuple[dict[str, str], list[str]]:
    """Return the licence of each package, and what is wrong: each text names the package and what to do."""
    licences: dict[str, str] = {}
    problems: list[str] = []
    for package in packages:
        licence = find_licence(package.name, rules)
        if licence is None:
            problems.append(f"{package.name}: its licence is not known; read its licence file, add it to [packages]")
            continue
        licences[package.name] = licence
        is_fine = is_allowed(licence, rules.allowed)
        if not is_fine and package.name not in rules.exceptions:
            problems.append(f"{package.name}: {licence} is not allowed; replace it, or give a reason in [exceptions]")
        if is_fine and package.name in rules.exceptions:
            problems.append(f"{package.name}: {licence} is allowed; delete it from [exceptions]")
    names = {package.name for package in packages}
    stale = sorted((set(rules.packages) | set(rules.exceptions)) - names)
    return licences, problems + [f"{name}: no such package in the lock; delete it" for name in stale]


def render(licences: dict[str, str], rules: Rules) -> str:
    """Return the page."""
    groups: dict[str, list[str]] = {}
    for name, licence in licences.items():
        if name not in rules.exceptions:
            groups.setdefault(licence, []).append(name)
    special = [f"| {name} | {licences[name]} | {rules.exceptions[name]} |" for name in sorted(rules.exceptions)]
    lines = ["## Accepted for a reason", "", "| package | licence | why |", "|---|---|---|", *special, ""]
    lines += ["## Allowed licences", "", "| licence | packages |", "|---|---|"]
    ordered = sorted(groups.items(), key=lambda group: (-len(group[1]), group[0]))
    lines += [f"| {licence} | {', '.join(sorted(names))} |" for licence, names in ordered]
    return HEAD + re.sub(r"[ \t]+$", "", "\n".join(lines), flags=re.MULTILINE) + "\n"


def main() -> int:
    """Check the licences, and write the page when all are fine; 1 when one is not."""
    rules, packages = load_rules(), read_lock()
    licences, problems = check(packages, rules)
    if problems:
        print("\n".join(problems), file=sys.stderr)
        return 1
    PAGE.write_text(render(licences, rules), encoding="utf-8")
    print(f"{len(licences)} licences are fine, {len(rules.exceptions)} of them for a reason; wrote {PAGE.name}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
