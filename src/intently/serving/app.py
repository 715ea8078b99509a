"""The ASGI application: every group of routes on FastAPI, every error one problem, behind the gate."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Final

from fastapi import FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import Response
from starlette.staticfiles import StaticFiles

from intently import __version__
from intently.errors import IntentlyError
from intently.serving.http.access import Access
from intently.serving.http.gate import Doors, Gate
from intently.serving.http.openapi import describe
from intently.serving.http.problems import RefusedError, of_error, problem
from intently.serving.routes import (
    answers,
    bulk,
    decisions,
    events,
    health,
    models,
    onboarding,
    online,
    people,
    records,
    rules,
)
from intently.serving.service import Service
from intently.serving.shapes.caller import Scope
from intently.serving.state.engine import Engine

STATIC: Final = Path(__file__).parent / "static"
GROUPS: Final = (answers, events, people, decisions, records, bulk, models, health, rules, online, onboarding)
"""Modules with `routes(service)` and BODIES, the shapes of their requests' bodies."""


OWN_SCOPES: Final[dict[str, Scope]] = {"/openapi.json": "server"}
"""Of routes that FastAPI makes; ours say it where they are declared, in routes/."""
VITAL: Final = ("/healthz", "/readyz", "/metrics")


def make_app(engine: Engine, doors: Doors, *, threads: int = 2) -> Gate:
    """The ASGI application of a started engine, which it closes at shutdown."""
    service = Service(engine, threads)

    @asynccontextmanager
    async def lifespan(_app: FastAPI) -> AsyncIterator[None]:
        yield
        service.close()

    api = FastAPI(
        title="Intently",
        version=__version__,
        summary="What each shopper will do next.",
        docs_url=None,
        redoc_url=None,
        lifespan=lifespan,
        redirect_slashes=False,
    )
    routers = [group.routes(service) for group in GROUPS]
    access = Access(
        [*api.routes, *(route for router in routers for route in router.routes)], OWN_SCOPES, VITAL
    )
    for router in routers:
        api.include_router(router)
    api.mount("/static", StaticFiles(directory=STATIC), name="static")
    describe(api, [shape for group in GROUPS for shape in group.BODIES])
    api.add_exception_handler(RefusedError, _refused)
    api.add_exception_handler(IntentlyError, _ours)
    api.add_exception_handler(HTTPException, _http)
    api.add_exception_handler(Exception, _unexpected)
    return Gate(api, service.metrics, access, doors)


async def _refused(_request: Request, error: Exception) -> Response:
    assert isinstance(error, RefusedError)
    return error.response


async def _ours(_request: Request, error: Exception) -> Response:
    assert isinstance(error, IntentlyError)
    return of_error(error)


async def _http(_request: Request, error: Exception) -> Response:
    assert isinstance(error, HTTPException)
    hint = "the routes are listed at /openapi.json"
    headers = dict(error.headers or {})
    return problem(error.status_code, str(error.detail), hint, headers=headers)


async def _unexpected(_request: Request, _error: Exception) -> Response:
    return problem(500, "something went wrong here; the log says what", "ask again; tell the operator")
