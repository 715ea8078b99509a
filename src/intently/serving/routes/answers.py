"""Routes that ask the model."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import Response

from intently.serving.answer import predict, rank, recommend, similar
from intently.serving.answer.suggestions import trimmed
from intently.serving.http.body import from_body, from_query
from intently.serving.http.openapi import takes_body, takes_query
from intently.serving.service import Service, reply
from intently.serving.shapes import answers as s

BODIES: Final[tuple[type[BaseModel], ...]] = (
    s.RecommendationRequest,
    s.RankRequest,
    s.PredictRequest,
)


def routes(service: Service) -> APIRouter:
    """Lists, probabilities, and what follows from an item."""
    router = APIRouter(prefix="/v1", tags=["answers"])

    @router.post(
        "/recommendations", **takes_body(s.RecommendationRequest, s.Recommendations, scope="browser")
    )
    async def recommend_for_visit(request: Request) -> Response:
        """The next items of a user or of a visit."""
        asked = await from_body(request, s.RecommendationRequest)
        return reply(trimmed(await service.work(recommend.recommend, asked), asked.fields))

    @router.get(
        "/recommendations/{user_id:path}",
        **takes_query(s.RecommendationQuery, s.Recommendations, scope="server"),
    )
    async def recommend_for_user(request: Request) -> Response:
        """The next items of a user."""
        query = from_query(request, s.RecommendationQuery)
        asked = s.RecommendationRequest(**query.model_dump())
        return reply(await service.work(recommend.recommend, asked))

    @router.post("/rank", **takes_body(s.RankRequest, s.Recommendations, scope="server"))
    async def rank_items(request: Request) -> Response:
        """Items of the caller's, in order for a user."""
        return reply(await service.work(rank.rank, await from_body(request, s.RankRequest)))

    @router.post("/predict", **takes_body(s.PredictRequest, s.Predictions, scope="server"))
    async def predict_pairs(request: Request) -> Response:
        """P(the event within the horizon) of pairs, and the decision at the threshold."""
        asked = await from_body(request, s.PredictRequest)
        return reply(await service.work(predict.predict, asked))

    @router.get("/similar/{item_id:path}", **takes_query(s.SimilarQuery, s.Similar, scope="server"))
    async def similar_items(request: Request) -> Response:
        """Items that follow from one item."""
        return reply(await service.work(similar.similar, from_query(request, s.SimilarQuery)))

    return router
