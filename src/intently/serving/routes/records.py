"""Routes about items and users: what the shop says of them."""

from __future__ import annotations

from typing import Any, Final

from fastapi import APIRouter, Request
from pydantic import BaseModel
from starlette.responses import Response

from intently.serving.http.body import checked, from_query, read_json
from intently.serving.http.openapi import takes_body, takes_query
from intently.serving.http.problems import refuse
from intently.serving.intake import records
from intently.serving.service import Service, reply
from intently.serving.shapes import records as s

BODIES: Final[tuple[type[BaseModel], ...]] = (s.ItemIn, s.ItemBatch, s.UserIn, s.UserBatch)


def routes(service: Service) -> APIRouter:
    """Upsert, replace, patch, get and remove."""
    router = APIRouter(prefix="/v1", tags=["records"])
    for batch, ident in ((s.ItemBatch, s.ItemId), (s.UserBatch, s.UserId)):
        _add(router, service, batch, ident)

    @router.delete("/items/{item_id:path}", **takes_query(s.ItemId, s.RecordOut, scope="server"))
    async def remove_item(request: Request) -> Response:
        """Take an item out of the shop: it is not answered again until it is put anew."""
        return reply(await service.work(records.remove_item, from_query(request, s.ItemId).item_id))

    @router.delete("/users/{user_id:path}", **takes_query(s.UserId, s.Erased, scope="server"))
    async def erase_user(request: Request) -> Response:
        """Remove a user's events and attributes, from the disk and from every answer."""
        return reply(await service.work(records.erase_user, from_query(request, s.UserId).user_id))

    return router


def _add(router: APIRouter, service: Service, batch: type[BaseModel], ident: type[BaseModel]) -> None:
    """The routes that items and users share."""
    shape: records.Shape = s.ItemIn if batch is s.ItemBatch else s.UserIn
    key = shape.KEY
    name = key.removesuffix("_id")
    described = takes_body(shape, s.RecordOut, scope="server")
    described["openapi_extra"] |= takes_query(ident, s.RecordOut, scope="server")["openapi_extra"]
    one = f"/{name}s/{{{key}:path}}"

    @router.post(f"/{name}s", name=f"put {name}s", **takes_body(shape, s.Kept, many=batch, scope="server"))
    async def put(request: Request) -> Response:
        """Merge one or many into what is known: null takes an attribute away."""
        return reply(await service.work(records.put_many, await read_json(request), shape))

    @router.get(one, name=f"get {name}", **takes_query(ident, s.RecordOut, scope="server"))
    async def get(request: Request) -> Response:
        """What the shop says of it."""
        return reply(await service.work(records.get, shape, _ident(request, ident, key)))

    @router.put(one, name=f"replace {name}", **described)
    async def replace(request: Request) -> Response:
        """The attributes become exactly these."""
        given = await _record(request, shape, _ident(request, ident, key))
        return reply(await service.work(records.replace, shape, getattr(given, key), given.attributes()))

    @router.patch(one, name=f"patch {name}", **described)
    async def patch(request: Request) -> Response:
        """Merge into what is known: null takes an attribute away."""
        given = await _record(request, shape, _ident(request, ident, key))
        return reply(await service.work(records.patch, shape, getattr(given, key), given.attributes()))


def _ident(request: Request, shape: type[BaseModel], key: str) -> str:
    return str(getattr(from_query(request, shape), key))


async def _record(request: Request, shape: records.Shape, ident: str) -> s.ItemIn | s.UserIn:
    """The body with the path's id; refuses another one in the body."""
    body: Any = await read_json(request)
    if isinstance(body, dict):
        if str(body.get(shape.KEY, ident)) != ident:
            raise refuse(422, f"{shape.KEY} in the body is not the one in the path", "leave it out")
        body = {**body, shape.KEY: ident}
    return checked(body, shape)
