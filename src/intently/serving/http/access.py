"""Which scope each route asks for, found before anything of a request is done.

The table is made from the routes themselves, by their own patterns and in their own order, so it and the
router cannot disagree. What it does not find is not served.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, cast

from starlette.routing import BaseRoute, Route

from intently.serving.http.openapi import X_SCOPE
from intently.serving.shapes.caller import RANK, Scope

STATIC: Final = "/static/"


@dataclass(frozen=True, slots=True)
class Entry:
    """A route's template, which is the label of its figures, and who may ask it."""

    path: str
    scope: Scope
    vital: bool = False


_FILES: Final = Entry("/static", "open")


class Access:
    """routes: everything that is served beside the files under /static/.

    scopes: those of routes that cannot say it themselves, by path; vital: paths that answer whatever else
    waits. A route without a scope is for administration.
    """

    def __init__(
        self, routes: Iterable[BaseRoute], scopes: dict[str, Scope], vital: Sequence[str] = ()
    ) -> None:
        self._routes: list[tuple[Route, Entry]] = []
        for route in routes:
            if not isinstance(route, Route):
                raise TypeError(f"only plain routes have a scope, got {type(route).__name__}")
            said = (getattr(route, "openapi_extra", None) or {}).get(X_SCOPE)
            scope = said or scopes.get(route.path, "admin")
            if scope not in RANK:
                raise ValueError(f"{route.path}: scope {scope!r}; allowed: {', '.join(RANK)}")
            self._routes.append((route, Entry(route.path, cast(Scope, scope), route.path in vital)))
        plain = [route.path for route, _ in self._routes if "{" not in route.path]
        self._plain: dict[tuple[str, str], Entry] = {}
        for path in plain:
            for method in self.methods(path):
                if entry := self._match(method, path):
                    self._plain[method, path] = entry

    def find(self, method: str, path: str) -> Entry | None:
        """The route that would answer."""
        found = self._plain.get((method, path))
        if found is not None:
            return found
        if path.startswith(STATIC):
            return _FILES if method in ("GET", "HEAD") else None
        return self._match(method, path)

    def methods(self, path: str) -> list[str]:
        """Methods that some route answers at this path, sorted."""
        if path.startswith(STATIC):
            return ["GET", "HEAD"]
        return sorted(
            {m for route, _ in self._routes if route.path_regex.match(path) for m in route.methods or ()}
        )

    def _match(self, method: str, path: str) -> Entry | None:
        for route, entry in self._routes:
            if method in (route.methods or ()) and route.path_regex.match(path):
                return entry
        return None
