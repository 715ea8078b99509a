"""The short way of lists: where one is made in a moment, on the loop and without a thread.

Handing a question to a thread and back costs as much as answering it, once the model carries its users from
event to event, or said before what it would say. What takes longer (`engine.pace`) goes the long way, in a
thread: a list of some milliseconds must not hold up events and health.
"""

from __future__ import annotations

import asyncio
import logging
from typing import Any, Final
from urllib.parse import parse_qsl

import orjson
from pydantic import ValidationError

from intently.errors import IntentlyError
from intently.serving.answer.written import written
from intently.serving.http.body import MAX_BYTES
from intently.serving.http.express import JSON, LONG, Again, RawHeaders, Short, raw
from intently.serving.http.gate import Gate
from intently.serving.shapes.answers import RecommendationQuery, RecommendationRequest
from intently.serving.shapes.common import is_id
from intently.serving.state.engine import Engine

log = logging.getLogger("intently.serving")

PATH: Final = b"/v1/recommendations"
ONE: Final = PATH + b"/"
LABELS: Final = {b"POST": "/v1/recommendations", b"GET": "/v1/recommendations/{user_id:path}"}
MOST_QUERIES: Final = 256
LONGEST_QUERY: Final = 100
_KIND: Final = (b"content-type", b"application/json")


class AnswerDoor:
    """POST /v1/recommendations, and GET of one user."""

    def __init__(self, engine: Engine, gate: Gate) -> None:
        self._engine = engine
        self._gate = gate
        self._label = ""
        self._asked: dict[bytes, RecommendationRequest] = {}  # what queries said, of any user
        self._dated: RawHeaders = []
        self._head = b""

    def takes(self, method: bytes, url: bytes) -> bool:
        """A list, where some are quick; nothing in the path that needs to be unquoted."""
        pace = self._engine.pace
        if not (pace.quick(anew=True) or pace.quick(anew=False)):
            return False
        if method == b"POST":
            return url == PATH
        return method == b"GET" and url.startswith(ONE) and b"%" not in url

    def enter(self, short: Short, scope: dict[str, Any], body: bytes) -> bool:
        """Answer at once; whatever is wrong with the request is told the long way."""
        url: bytes = short.connection.url
        method = b"POST" if url == PATH else b"GET"
        path, _, query = url.partition(b"?")
        if not self._plain(scope, method, body):
            return False
        if not self._gate.passes(scope, method.decode(), path.decode("ascii", "replace")):
            return False
        try:
            asked = _posted(body) if method == b"POST" else self._queried(path, query)
            if not (self._engine.pace.quick(anew=True) or self._ready(asked)):
                return False
            answer = written(self._engine, asked)
        except (ValidationError, ValueError, IntentlyError):
            return False
        except Exception:  # the long way fails in the same place, and tells it as a problem
            log.exception("a list on the short way")
            return False
        self._label = LABELS[method]
        short.told(answer)
        return True

    def _ready(self, asked: RecommendationRequest) -> bool:
        """Whether the model need not be asked."""
        engine, context = self._engine, asked.context
        if asked.cursor is not None:
            return True
        scenario, standing = engine.scenarios.get(asked.scenario), engine.live.current
        if scenario is None or standing is None or context.item_ids:
            return standing is None
        plain = scenario.first == "model" and not (context.query or context.page)
        whole = not plain or engine.newcomers.any(standing)
        return engine.readings.holds(engine.ask(asked.user_id, asked.session_id), standing, whole)

    def again(self, _scope: dict[str, Any]) -> Again | None:
        """A list is asked for in the head itself, so none comes twice for long."""
        return None

    def answer(self, outcome: Any, dated: RawHeaders) -> tuple[int, bytes]:
        """200 and the list."""
        if dated is not self._dated:  # the server makes a new list when the second changes
            self._dated, self._head = dated, raw([*dated, _KIND], b"")[:-2]
        return 200, b"%bcontent-length: %d\r\n\r\n%b" % (self._head, len(outcome), outcome)

    def count(self, status: int, seconds: float, loop: asyncio.AbstractEventLoop) -> None:
        """Count one answer."""
        self._gate.metrics.answered(self._label, status, seconds)

    def _queried(self, path: bytes, query: bytes) -> RecommendationRequest:
        """A user's request; shops ask the same of everyone, so what the rest of a URL says is read once."""
        user_id, known = path[len(ONE) :].decode("ascii"), self._asked.get(query)
        if known is not None and is_id(user_id):
            return known.model_copy(update={"user_id": user_id})
        given = dict(parse_qsl(query.decode("ascii"), keep_blank_values=True))
        given["user_id"] = user_id
        asked = RecommendationRequest(**RecommendationQuery.model_validate_strings(given).model_dump())
        if len(self._asked) < MOST_QUERIES and len(query) < LONGEST_QUERY:
            self._asked[query] = asked
        return asked

    def _plain(self, scope: dict[str, Any], method: bytes, body: bytes) -> bool:
        kind = b""
        for name, value in scope["headers"]:
            if name in LONG:
                return False
            if name == b"content-type":
                kind = value
        return kind in JSON and len(body) <= MAX_BYTES if method == b"POST" else not body


def _posted(body: bytes) -> RecommendationRequest:
    value = orjson.loads(body)
    if not isinstance(value, dict):
        raise ValueError("no object")
    return RecommendationRequest.model_validate(value)
