"""The OpenAPI document of the read API, from which the types of the TypeScript client are made."""

import json
from collections.abc import Iterator
from typing import Any

from adwarm.serving.api.app import describe_api
from reference_pages.markdown import described


def document() -> str:
    """Return the document as JSON text.

    Raises:
        Undocumented: an operation, a parameter or a field has no description.
    """
    api = describe_api()
    described("parts of the read API", dict(_texts(api)))
    return json.dumps(api, indent=2, ensure_ascii=False) + "\n"


def _texts(api: dict[str, Any]) -> Iterator[tuple[str, str]]:
    for path, operations in api["paths"].items():
        for method, operation in operations.items():
            yield f"{method} {path}", operation.get("description", "")
            for parameter in operation.get("parameters", ()):
                yield f"{method} {path} {parameter['name']}", parameter.get("description", "")
    for name, schema in api["components"]["schemas"].items():
        yield name, schema.get("description", "")
        for field, value in schema.get("properties", {}).items():
            yield f"{name}.{field}", value.get("description", "")
