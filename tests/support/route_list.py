"""The routes of an application, as method and path."""

from starlette.routing import BaseRoute, Mount, Route


def list_routes(routes: list[BaseRoute], prefix: str = "") -> list[tuple[str, str]]:
    """Return method and path of every route, those of mounted applications included."""
    pairs: list[tuple[str, str]] = []
    for route in routes:
        path = prefix + getattr(route, "path", "")
        if isinstance(route, Mount):
            pairs += [("GET", path), *list_routes(list(route.routes), path)]
        elif isinstance(route, Route) or hasattr(route, "methods"):
            pairs += [(method, path) for method in sorted(route.methods or {"GET"})]
        else:
            nested = getattr(route, "routes", None) or getattr(getattr(route, "original_router", None), "routes", None)
            pairs += list_routes(list(nested or ()), prefix)
    return pairs
