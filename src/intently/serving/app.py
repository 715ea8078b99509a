"""The HTTP interface on FastAPI.

Routes take the bare request and give bytes made by orjson: FastAPI's own reading and encoding of
twenty items costs more than everything else here, and its validation errors echo what was sent. The
shapes are still in /openapi.json (see `openapi`).

Models are called in a small pool of threads, never on the event loop: one user's answer may take tens of
milliseconds, and health, events and static files must not wait for it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any, Final, TypeVar

import orjson
from fastapi import APIRouter, FastAPI, Request
from starlette.exceptions import HTTPException
from starlette.responses import FileResponse, Response
from starlette.staticfiles import StaticFiles

from intently import __version__
from intently.errors import IntentlyError, NotReadyError
from intently.serving import events, people, predict, recommend
from intently.serving import shapes as s
from intently.serving.body import from_body, from_query, read_json
from intently.serving.engine import Engine
from intently.serving.gate import Gate
from intently.serving.metrics import Metrics
from intently.serving.openapi import describe, takes_body, takes_query
from intently.serving.problems import RefusedError, listed, of_error, problem

STATIC: Final = Path(__file__).parent / "static"
MAX_WAITING: Final = 256
Result = TypeVar("Result")


class Service:
    """The routes' common ground: the engine, its figures, and the threads that call models."""

    def __init__(self, engine: Engine, threads: int) -> None:
        self.engine = engine
        self.metrics = Metrics()
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="intently-model")
        self._waiting = 0

    async def work(self, function: Callable[[Engine, Any], Result], asked: Any) -> Result:
        """Run in the pool; raises NotReadyError when too many wait already."""
        if self._waiting >= MAX_WAITING:
            raise NotReadyError("too many requests wait for the model", hint="ask again soon")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, function, self.engine, asked)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """End the threads, then the engine."""
        self._pool.shutdown(wait=True)
        self.engine.close()


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
    api.include_router(answers(service))
    api.include_router(records(service))
    api.include_router(health(service))
    api.mount("/static", StaticFiles(directory=STATIC), name="static")
    describe(api)
    api.add_exception_handler(RefusedError, _refused)
    api.add_exception_handler(IntentlyError, _ours)
    api.add_exception_handler(HTTPException, _http)
    api.add_exception_handler(Exception, _unexpected)
    return Gate(api, service.metrics, key, any_host)


def answers(service: Service) -> APIRouter:
    """Routes that ask the model."""
    router = APIRouter(prefix="/v1", tags=["answers"])

    @router.post("/recommendations", **takes_body(s.RecommendationRequest, s.Recommendations))
    async def recommend_for_visit(request: Request) -> Response:
        """The next items of a user or of a visit."""
        asked = await from_body(request, s.RecommendationRequest)
        return reply(await service.work(recommend.recommend, asked))

    @router.get("/recommendations/{user_id:path}", **takes_query(s.RecommendationQuery, s.Recommendations))
    async def recommend_for_user(request: Request) -> Response:
        """The next items of a user."""
        query = from_query(request, s.RecommendationQuery)
        asked = s.RecommendationRequest(user_id=query.user_id, n=query.n, explain=query.explain)
        return reply(await service.work(recommend.recommend, asked))

    @router.post("/predict", **takes_body(s.PredictRequest, s.Predictions))
    async def predict_pairs(request: Request) -> Response:
        """P(the event within the horizon) of pairs, and the decision at the threshold."""
        asked = await from_body(request, s.PredictRequest)
        return reply(await service.work(predict.predict, asked))

    @router.get("/similar/{item_id:path}", **takes_query(s.SimilarQuery, s.Similar))
    async def similar_items(request: Request) -> Response:
        """Items that follow from one item."""
        return reply(await service.work(recommend.similar, from_query(request, s.SimilarQuery)))

    return router


def records(service: Service) -> APIRouter:
    """Routes about what users did."""
    router = APIRouter(prefix="/v1", tags=["records"])

    @router.post("/events", **takes_body(s.EventIn, s.Acknowledged, many=s.EventBatch))
    async def add_events(request: Request) -> Response:
        """Store events; what is accepted is on disk and counts in the very next answer."""
        told = await events.take(service.engine, await read_json(request))
        service.metrics.received(told.accepted, told.duplicates, told.rejected)
        if told.rejected == told.received:
            errors: list[dict[str, str | int]] = [
                {"index": e.index, "field": e.field, "reason": e.reason} for e in told.errors
            ]
            return problem(422, f"none of {told.received} events can be used", errors=listed(errors))
        return reply(told)

    @router.get("/users", **takes_query(s.UserQuery, s.Users))
    async def find_users(request: Request) -> Response:
        """Users with events whose id holds the query."""
        return reply(await service.work(people.users, from_query(request, s.UserQuery)))

    @router.get("/users/{user_id:path}/history", **takes_query(s.HistoryQuery, s.History))
    async def user_history(request: Request) -> Response:
        """A user's latest events, newest first."""
        return reply(await service.work(people.history, from_query(request, s.HistoryQuery)))

    @router.get("/shop")
    async def shop() -> Response:
        """The shop, its clock and its model."""
        return reply(service.engine.status())

    return router


def health(service: Service) -> APIRouter:
    """The page and what watches over the service."""
    router = APIRouter(tags=["service"])

    @router.get("/", include_in_schema=False)
    async def page() -> Response:
        """The page."""
        return FileResponse(STATIC / "index.html")

    @router.get("/favicon.ico", include_in_schema=False)
    async def icon() -> Response:
        """What browsers ask for by themselves."""
        return FileResponse(STATIC / "icon.svg")

    @router.get("/healthz")
    async def healthz() -> Response:
        """200 while the process works; `status` is degraded when a part is off, and says which."""
        problems = service.engine.problems()
        said = {"status": "degraded" if problems else "ok", "problems": problems}
        return reply(said | {"clock": service.engine.clock.text()})

    @router.get("/readyz")
    async def readyz() -> Response:
        """200 once a model is live, 503 before."""
        if service.engine.live.current is None:
            raise NotReadyError("no model is live yet", hint="run: intently train")
        return reply({"status": "ready"})

    @router.get("/metrics")
    async def metrics() -> Response:
        """Figures for Prometheus."""
        return Response(service.metrics.text(service.engine), media_type="text/plain; version=0.0.4")

    return router


def reply(answer: Any) -> Response:
    """200 with the answer as JSON."""
    return Response(orjson.dumps(answer), media_type="application/json")


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
