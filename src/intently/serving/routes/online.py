"""Routes about what is learned while serving."""

from __future__ import annotations

from typing import Final

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import Response

from intently.serving.http.openapi import scoped
from intently.serving.service import Service, reply

BODIES: Final[tuple[type[BaseModel], ...]] = ()


def routes(service: Service) -> APIRouter:
    """The online layer against the model that stands still."""
    router = APIRouter(prefix="/v1", tags=["online"])

    @router.get("/online", **scoped("server"))
    async def online() -> Response:
        """What was learned, whether it answers, and what it brings, by lists whose outcome is known."""
        return reply(service.engine.online.told())

    return router
