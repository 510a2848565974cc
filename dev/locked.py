"""Reads a hash-pinned lock: packages with version, hashes, and what requires them."""

import re
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).resolve().parents[1]
RUNTIME_LOCK = ROOT / "requirements.txt"
_PIN = re.compile(r"^([A-Za-z0-9._-]+)(?:\[[^\]]*\])?==([^\s;\\]+)(?:\s*;\s*([^\\]+?))?\s*\\?$")
_HASH = re.compile(r"--hash=sha256:([0-9a-f]{64})")
_VIA = re.compile(r"^    #\s+(?:via\s+)?([A-Za-z0-9._-]+)(?:\s.*)?$")


@dataclass(frozen=True)
class LockedPackage:
    """A package of a lock.

    Attributes:
        name: its normalized name.
        marker: on which platforms it is installed; empty for all.
        hashes: the SHA-256 of each file that may be installed, sorted.
        required_by: the names of the packages that need it; `adwarm` where the project names it.
    """

    name: str
    version: str
    marker: str
    hashes: tuple[str, ...]
    required_by: tuple[str, ...]


def read_lock(path: Path = RUNTIME_LOCK) -> list[LockedPackage]:
    """Return the packages of a lock, in its order.

    Raises:
        ValueError: a package has no hash.
    """
    packages: list[LockedPackage] = []
    for block in re.split(r"\n(?=[A-Za-z0-9])", path.read_text(encoding="utf-8").strip()):
        lines = block.splitlines()
        if not (pin := _PIN.match(lines[0])):
            continue
        hashes = sorted(match.group(1) for line in lines if (match := _HASH.search(line)))
        if not hashes:
            raise ValueError(f"{pin.group(1)} has no hash in {path.name}; run `make lock`")
        sources = [match.group(1) for line in lines if (match := _VIA.match(line)) and match.group(1) != "via"]
        parents = tuple(sorted({"adwarm" if source == "adwarm" else source.lower() for source in sources}))
        name = re.sub(r"[-_.]+", "-", pin.group(1)).lower()
        packages.append(LockedPackage(name, pin.group(2), (pin.group(3) or "").strip(), tuple(hashes), parents))
    return packages
