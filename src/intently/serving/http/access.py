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
        self._plain: dict[tuple[str, str], Entry] = {}
        for route, _ in self._routes:
            for method in () if "{" in route.path else self.methods(route.path):
                if entry := _first(self._routes, method, route.path):
                    self._plain[method, route.path] = entry
        patterns = [pair for pair in self._routes if "{" in pair[0].path]
        begins = {_begin(route.path) for route, _ in patterns if "{" not in _begin(route.path)}
        self._near = {begin: [p for p in patterns if _could(p[0].path, begin)] for begin in begins}
        self._far = [pair for pair in patterns if "{" in _begin(pair[0].path)]

    def find(self, method: str, path: str) -> Entry | None:
        """The route that would answer."""
        found = self._plain.get((method, path))
        if found is not None:
            return found
        if path.startswith(STATIC):
            return _FILES if method in ("GET", "HEAD") else None
        return _first(self._near.get(_begin(path), self._far), method, path)

    def methods(self, path: str) -> list[str]:
        """Methods that some route answers at this path, sorted."""
        if path.startswith(STATIC):
            return ["GET", "HEAD"]
        return sorted(
            {m for route, _ in self._routes if route.path_regex.match(path) for m in route.methods or ()}
        )


def _first(routes: Sequence[tuple[Route, Entry]], method: str, path: str) -> Entry | None:
    for route, entry in routes:
        if method in (route.methods or ()) and route.path_regex.match(path):
            return entry
    return None


def _begin(path: str) -> str:
    """The first two words of a path.

    >>> _begin("/v1/users/u1/history"), _begin("/healthz")
    ('/v1/users', '/healthz')
    """
    return "/".join(path.split("/", 3)[:3])


def _could(template: str, begin: str) -> bool:
    """Whether a path that begins so may fit the template.

    >>> [_could(one, "/v1/users") for one in ("/v1/users/{id}", "/v1/items/{id}", "/{any}")]
    [True, False, True]
    """
    fixed = template.partition("{")[0]
    return _begin(template) == begin if fixed.count("/") > 2 else begin.startswith(fixed)
