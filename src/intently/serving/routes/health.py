"""The page, and routes for what watches over the service."""

from __future__ import annotations

import asyncio
from pathlib import Path
from typing import Final

from fastapi import APIRouter
from pydantic import BaseModel
from starlette.responses import FileResponse, Response

from intently.errors import NotReadyError
from intently.serving.http.metrics import merged
from intently.serving.http.openapi import scoped
from intently.serving.service import Service, reply

STATIC: Final = Path(__file__).parent.parent / "static"
BODIES: Final[tuple[type[BaseModel], ...]] = ()


def routes(service: Service) -> APIRouter:
    """Health, readiness, figures, the shop, and the page."""
    router = APIRouter(tags=["service"])

    @router.get("/", include_in_schema=False, **scoped("open"))
    async def page() -> Response:
        """The page."""
        return FileResponse(STATIC / "index.html")

    @router.get("/favicon.ico", include_in_schema=False, **scoped("open"))
    async def icon() -> Response:
        """What browsers ask for by themselves."""
        return FileResponse(STATIC / "icon.svg")

    @router.get("/v1/shop", **scoped("server"))
    async def shop() -> Response:
        """The shop, its clock and its model."""
        return reply(service.engine.status())

    @router.get("/healthz", **scoped("open"))
    async def healthz() -> Response:
        """200 while the process works; `status` is degraded when a part is off, and says which."""
        problems = service.engine.problems()
        said = {"status": "degraded" if problems else "ok", "problems": problems}
        return reply(said | {"clock": service.engine.clock.text()})

    @router.get("/readyz", **scoped("open"))
    async def readyz() -> Response:
        """200 once a model is live, 503 before."""
        if service.engine.live.current is None:
            raise NotReadyError("no model is live yet", hint="run: intently train")
        return reply({"status": "ready"})

    @router.get("/metrics", **scoped("server"))
    async def metrics() -> Response:
        """Figures for Prometheus; of several workers, each with its own label."""
        text, bus = service.metrics.text(service.engine), service.engine.bus
        if not bus.alone:
            text = merged({bus.name: text} | await asyncio.to_thread(bus.of_others, "figures"))
        return Response(text, media_type="text/plain; version=0.0.4")

    return router
