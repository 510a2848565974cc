"""`make sbom`: the runtime lock as a CycloneDX document: packages, hashes, licences, and what requires what.

The same lock and version give the same bytes: there is no time in it, and its serial number is made from its content.
"""

import json
import sys
from pathlib import Path
from typing import Any
from uuid import NAMESPACE_URL, uuid5

from cyclonedx.schema import SchemaVersion
from cyclonedx.validation.json import JsonStrictValidator

from adwarm import __version__
from dev.licences import find_licence, load_rules
from dev.locked import ROOT, LockedPackage, read_lock

OUTPUT = ROOT / "dist" / "adwarm.cdx.json"


def build_sbom(packages: list[LockedPackage], version: str) -> dict[str, Any]:
    """Return the document."""
    root = f"pkg:pypi/adwarm@{version}"
    references: dict[str, list[str]] = {}  # a lock may have two versions of a package, for different platforms
    for package in packages:
        references.setdefault(package.name, []).append(_reference(package))
    needs: dict[str, set[str]] = {reference: set() for reference in (root, *map(_reference, packages))}
    for package in packages:
        for parent in package.required_by:
            for reference in references.get(parent, [root]):
                needs[reference].add(_reference(package))
    document: dict[str, Any] = {
        "bomFormat": "CycloneDX",
        "specVersion": "1.6",
        "version": 1,
        "metadata": {
            "component": {
                "type": "application",
                "bom-ref": root,
                "name": "adwarm",
                "version": version,
                "purl": root,
                "licenses": [{"expression": "Apache-2.0"}],
            }
        },
        "components": [_component(package) for package in packages],
        "dependencies": [{"ref": reference, "dependsOn": sorted(needs[reference])} for reference in sorted(needs)],
    }
    document["serialNumber"] = f"urn:uuid:{uuid5(NAMESPACE_URL, json.dumps(document, sort_keys=True))}"
    return document


def check_sbom(document: dict[str, Any]) -> None:
    """Check a document.

    Raises:
        ValueError: it does not follow the schema of CycloneDX 1.6.
    """
    if (problem := JsonStrictValidator(SchemaVersion.V1_6).validate_str(json.dumps(document))) is not None:
        raise ValueError(f"the document does not follow the schema of CycloneDX: {problem}")


def _reference(package: LockedPackage) -> str:
    return f"pkg:pypi/{package.name}@{package.version}"


def _component(package: LockedPackage) -> dict[str, Any]:
    reference = _reference(package)
    component: dict[str, Any] = {
        "type": "library",
        "bom-ref": reference,
        "name": package.name,
        "version": package.version,
        "purl": reference,
        "externalReferences": [
            {
                "type": "distribution",
                "url": f"https://pypi.org/project/{package.name}/{package.version}/",
                "hashes": [{"alg": "SHA-256", "content": content} for content in package.hashes],
            }
        ],
    }
    if licence := find_licence(package.name, load_rules()):
        component["licenses"] = [{"expression": licence}]
    if package.marker:
        component["properties"] = [{"name": "adwarm:marker", "value": package.marker}]
    return component


def main(output: Path = OUTPUT) -> int:
    """Write the document of the runtime lock."""
    document = build_sbom(read_lock(), __version__)
    check_sbom(document)
    output.parent.mkdir(parents=True, exist_ok=True)
    output.write_text(json.dumps(document, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    print(f"{len(document['components'])} packages in {output.relative_to(ROOT)}")
    return 0


if __name__ == "__main__":
    sys.exit(main())
