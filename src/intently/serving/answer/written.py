"""A list as the bytes that are sent: what the catalogue says of an item is worded once, not for every answer.

The bytes are those that orjson makes of `recommend`'s answer; a test compares them.
"""

from __future__ import annotations

import time
from functools import lru_cache
from typing import Any

import orjson

from intently.schema import DoubleArray
from intently.serving.answer.draft import SOURCES
from intently.serving.answer.recommend import Listed, facts, listed, told, took
from intently.serving.answer.suggestions import trimmed
from intently.serving.shapes.answers import RecommendationRequest
from intently.serving.state.engine import Engine


def written(engine: Engine, asked: RecommendationRequest) -> bytes:
    """`recommend` as JSON. Raises what it raises."""
    began = time.perf_counter()
    made = listed(engine, asked)
    if asked.explain or asked.fields is not None:
        answer: Any = trimmed(told(engine, made, began), asked.fields)
    else:
        answer = facts(engine, made)
        answer["items"] = orjson.Fragment(_items(engine, made))
        answer["took_ms"] = round((time.perf_counter() - began) * 1e3, 3)
    out = orjson.dumps(answer)
    took(engine, made, time.perf_counter() - began)
    return out


def _items(engine: Engine, made: Listed) -> bytes:
    """The page's items without reasons."""
    draft = made.draft
    if not len(draft):
        return b"[]"
    worded = engine.catalogue.worded(draft.numbers.tolist())
    scores = _figures(draft.scores.round(6))
    chances = scores if draft.calibrated else [b"null"] * len(scores)
    standing = draft.view.standing
    names = _named(standing.model.name if standing is not None else SOURCES[0])
    rows = zip(
        worded,
        scores,
        chances,
        range(made.start + 1, made.start + 1 + len(draft)),
        [names[code] for code in draft.sources.tolist()],
        _figures(draft.propensity),
        strict=True,
    )
    return b"[" + b",".join([_ITEM % row for row in rows]) + b"]"


_ITEM = b'{%b,"score":%b,"probability":%b,"rank":%d,"source":%b,"propensity":%b,"reasons":[]}'


def _figures(values: DoubleArray) -> list[bytes]:
    """Each as JSON writes it, null for what is no number."""
    return orjson.dumps(values.tolist())[1:-1].split(b",")


@lru_cache(maxsize=64)
def _named(model: str) -> list[bytes]:
    """Who named an item, by its code."""
    return [orjson.dumps(name) for name in (model, *SOURCES[1:])]
