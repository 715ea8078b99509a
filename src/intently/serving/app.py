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
from intently.serving.http.gate import Gate
from intently.serving.http.openapi import describe
from intently.serving.http.problems import RefusedError, of_error, problem
from intently.serving.routes import answers, events, health, models, people
from intently.serving.service import Service
from intently.serving.state.engine import Engine

STATIC: Final = Path(__file__).parent / "static"
GROUPS: Final = (answers, events, people, models, health)
"""Modules with `routes(service)` and BODIES, the shapes of their requests' bodies."""


def make_app(engine: Engine, *, key: str = "", any_host: bool = False, threads: int = 2) -> Gate:
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
    for group in GROUPS:
        api.include_router(group.routes(service))
    api.mount("/static", StaticFiles(directory=STATIC), name="static")
    describe(api, [shape for group in GROUPS for shape in group.BODIES])
    api.add_exception_handler(RefusedError, _refused)
    api.add_exception_handler(IntentlyError, _ours)
    api.add_exception_handler(HTTPException, _http)
    api.add_exception_handler(Exception, _unexpected)
    return Gate(api, service.metrics, key, any_host)


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
