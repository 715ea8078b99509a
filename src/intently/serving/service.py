"""The routes' common ground: the engine, its figures, and the threads that call models."""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, TypeVar

import orjson
from starlette.responses import Response

from intently.errors import NotReadyError
from intently.serving.answer.ahead import Ahead
from intently.serving.http.metrics import Metrics
from intently.serving.state.engine import Engine

MAX_WAITING: Final = 256
Result = TypeVar("Result")


class Service:
    """Models are called in a small pool of threads, never on the event loop.

    One user's answer may take tens of milliseconds; health, events and static files must not wait for it.
    """

    def __init__(self, engine: Engine, threads: int) -> None:
        self.engine = engine
        self.metrics = Metrics()
        engine.company.figures = lambda: self.metrics.text(engine)
        self._pool = ThreadPoolExecutor(threads, thread_name_prefix="intently-model")
        self._waiting = 0
        self._ahead = Ahead(engine, engine.settings.read_ahead)
        self._ahead.start()

    async def work(self, function: Callable[..., Result], *given: Any) -> Result:
        """function(engine, *given) in the pool; raises NotReadyError when too many wait already."""
        if self._waiting >= MAX_WAITING:
            raise NotReadyError("too many requests wait for the model", hint="ask again soon")
        self._waiting += 1
        try:
            loop = asyncio.get_running_loop()
            return await loop.run_in_executor(self._pool, function, self.engine, *given)
        finally:
            self._waiting -= 1

    def close(self) -> None:
        """End the threads, then the engine."""
        self._ahead.stop()
        self._pool.shutdown(wait=True)
        self.engine.close()


def reply(answer: Any) -> Response:
    """200 with the answer as JSON."""
    return Response(orjson.dumps(answer), media_type="application/json")
