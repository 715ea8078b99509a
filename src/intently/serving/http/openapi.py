"""What /openapi.json says of routes that read their requests themselves."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final, TypedDict

from fastapi import FastAPI
from fastapi.openapi.utils import get_openapi
from pydantic import BaseModel
from pydantic.json_schema import models_json_schema

from intently.serving.http.problems import Problem
from intently.serving.shapes.caller import Scope

X_SCOPE: Final = "x-scope"
"""Where a route's description says who may ask it; one that says nothing is for administration."""

_BEARER: Final = {
    "type": "http",
    "scheme": "bearer",
    "description": "A key, or a session token signed with a browser key. x-scope says what it must be for.",
}
_REF: Final = "#/components/schemas/{model}"


class Described(TypedDict):
    """Keyword arguments of a FastAPI route that only describe it."""

    responses: dict[int | str, dict[str, Any]]
    openapi_extra: dict[str, Any]


class Scoped(TypedDict):
    """Keyword argument of a FastAPI route that says who may ask it."""

    openapi_extra: dict[str, Any]


def scoped(scope: Scope) -> Scoped:
    """A route that takes nothing."""
    return {"openapi_extra": {X_SCOPE: scope}}


def takes_body(
    shape: type[BaseModel],
    answer: type[Any],
    many: type[BaseModel] | None = None,
    *,
    scope: Scope = "admin",
) -> Described:
    """A route with a JSON body of `shape` (or `many`) that answers `answer` to callers of `scope`.

    A route of scope "browser" must hand its body on by `from_body`, or check what it holds with
    `caller(request)`: a browser may name only its own user and session.
    """
    refs = [{"$ref": _REF.format(model=m.__name__)} for m in (shape, many) if m is not None]
    schema = refs[0] if len(refs) == 1 else {"oneOf": refs}
    body = {"required": True, "content": {"application/json": {"schema": schema}}}
    return {"responses": _responses(answer), "openapi_extra": {"requestBody": body, X_SCOPE: scope}}


def takes_query(shape: type[BaseModel], answer: type[Any], *, scope: Scope = "admin") -> Described:
    """A route whose path and query hold the fields of `shape`; required ones are in the path."""
    schema = shape.model_json_schema()
    required = schema.get("required", [])
    parameters = [
        {"name": name, "in": "path" if name in required else "query", "required": name in required}
        | {"schema": {k: v for k, v in described.items() if k != "title"}}
        for name, described in schema["properties"].items()
    ]
    return {"responses": _responses(answer), "openapi_extra": {"parameters": parameters, X_SCOPE: scope}}


def describe(api: FastAPI, bodies: Sequence[type[BaseModel]]) -> None:
    """Make /openapi.json complete: the shapes of `bodies` and the problems."""

    def made() -> dict[str, Any]:
        if api.openapi_schema is None:
            schema = get_openapi(title=api.title, version=api.version, summary=api.summary, routes=api.routes)
            pairs = [(shape, "validation") for shape in (*bodies, Problem)]
            _names, found = models_json_schema(pairs, ref_template=_REF)  # type: ignore[arg-type]
            parts = schema.setdefault("components", {})
            parts.setdefault("schemas", {}).update(found["$defs"])
            parts["securitySchemes"] = {"key": _BEARER}
            for methods in schema["paths"].values():
                for operation in methods.values():
                    scope = operation.setdefault(X_SCOPE, "admin")
                    operation["security"] = [] if scope == "open" else [{"key": []}]
            api.openapi_schema = schema
        return api.openapi_schema

    api.openapi = made  # type: ignore[method-assign]


def _responses(answer: type[Any]) -> dict[int | str, dict[str, Any]]:
    problem = {"application/problem+json": {"schema": {"$ref": _REF.format(model="Problem")}}}
    return {
        200: {"model": answer, "description": "the answer"},
        "4XX": {"description": "what is wrong with the request", "content": problem},
        503: {"description": "not ready; ask again soon", "content": problem},
    }
