"""What the shop says of its items and users: kept on disk, and in the very next answer.

Merging follows JSON merge patch (RFC 7396): what is given replaces what was there, null takes it away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from pydantic import ValidationError

from intently.errors import InputError, UnknownIdError
from intently.serving.shapes.faults import field_errors
from intently.serving.shapes.records import (
    MAX_RECORDS,
    Attributes,
    Erased,
    ItemIn,
    Kept,
    RecordOut,
    UserIn,
)
from intently.serving.state.catalogue import REMOVED
from intently.serving.state.clock import rfc3339
from intently.serving.state.engine import Engine

Shape = type[ItemIn] | type[UserIn]


def put_many(engine: Engine, body: Any, shape: Shape) -> Kept:
    """Merge one (an object) or many ({"items": [...]}, {"users": [...]}); good ones are kept whatever
    the others are."""
    return put_all(engine, _listed(body, shape.KEY.removesuffix("_id") + "s"), shape)


def put_all(engine: Engine, given: Sequence[Any], shape: Shape) -> Kept:
    """Merge these, each judged alone; those of one id in their order."""
    good: list[ItemIn | UserIn] = []
    errors: list[dict[str, str | int]] = []
    for index, one in enumerate(given):
        try:
            good.append(shape.model_validate(one))
        except ValidationError as error:
            first = field_errors(error, shape)[0]
            errors.append({"index": index, "field": first.field, "reason": first.reason})
    with engine.bus.changing():
        rows: dict[str, Attributes] = {}
        for record in good:
            ident = getattr(record, shape.KEY)
            known = rows[ident] if ident in rows else _known(engine, shape, ident)
            rows[ident] = merged(known, record.attributes())
        KEEPERS[shape](engine, rows)
    return Kept(len(given), len(good), len(errors), errors)


def replace(engine: Engine, shape: Shape, ident: str, attributes: Attributes) -> RecordOut:
    """The attributes become exactly these."""
    with engine.bus.changing():
        KEEPERS[shape](engine, {ident: merged({}, attributes)})
    return get(engine, shape, ident)


def patch(engine: Engine, shape: Shape, ident: str, attributes: Attributes) -> RecordOut:
    """Merge into what is known; raises UnknownIdError for what nobody knows."""
    with engine.bus.changing():
        known = _known(engine, shape, ident)
        if known is None:
            raise _unknown(shape)
        KEEPERS[shape](engine, {ident: merged(known, attributes)})
    return get(engine, shape, ident)


def get(engine: Engine, shape: Shape, ident: str) -> RecordOut:
    """What is known; raises UnknownIdError."""
    if shape is UserIn:
        known = engine.store.user(ident)
        user = engine.memory.users.get(ident)
        if known is None and user < 0:
            raise _unknown(shape)
        return RecordOut(ident, dict(known or {}), engine.memory.count(user) if user >= 0 else 0)
    number = engine.memory.items.get(ident)
    if number < 0:
        raise _unknown(shape)
    attributes = _said(engine, ident, number)
    removed = attributes.pop(REMOVED, None) is not None
    return RecordOut(ident, attributes, engine.memory.times(number), removed)


def remove_item(engine: Engine, item_id: str) -> RecordOut:
    """Take an item out of the shop: its attributes go, it is never answered again until it is put anew.

    What users did with it stays in their histories. Raises UnknownIdError.
    """
    with engine.bus.changing():
        if engine.memory.items.get(item_id) < 0:
            raise _unknown(ItemIn)
        gone = {REMOVED: rfc3339(engine.clock.now())}
        engine.store.replace_items({item_id: gone})
        engine.catalogue.replace({item_id: gone})
        engine.company.items([item_id])
    return get(engine, ItemIn, item_id)


def erase_user(engine: Engine, user_id: str) -> Erased:
    """Remove a user's events and attributes, from the disk and from every answer from now on.

    The live model keeps what it learned from all users together until the next training. Raises
    UnknownIdError.
    """
    with engine.bus.changing():
        user = engine.memory.users.get(user_id)
        if user < 0 and engine.store.user(user_id) is None:
            raise _unknown(UserIn)
        n = engine.store.erase_user(user_id)
        everywhere = engine.company.erased(user_id, engine.forget(user_id))
    return Erased(user_id, n, everywhere)


def merged(known: Attributes | None, given: Attributes) -> Attributes:
    """Merge patch of flat attributes.

    >>> merged({"a": 1, "b": 2}, {"b": None, "c": 3})
    {'a': 1, 'c': 3}
    """
    return {name: value for name, value in {**(known or {}), **given}.items() if value is not None}


def _known(engine: Engine, shape: Shape, ident: str) -> Attributes | None:
    if shape is UserIn:
        known = engine.store.user(ident)
        return dict(known) if known is not None else {} if engine.memory.users.get(ident) >= 0 else None
    number = engine.memory.items.get(ident)
    if number < 0:
        return None
    return {name: value for name, value in _said(engine, ident, number).items() if name != REMOVED}


def _said(engine: Engine, item_id: str, number: int) -> dict[str, Any]:
    """An item's attributes as they were given: the catalogue's table holds one kind of value a column."""
    return dict(engine.store.item(item_id) or engine.catalogue.of(number))


def _keep_items(engine: Engine, rows: Mapping[str, Attributes]) -> None:
    engine.store.replace_items(rows)
    engine.catalogue.replace(rows)
    for item_id in rows:
        engine.newcomers.came(engine.memory.items.get(item_id))
    engine.company.items(list(rows))


def _keep_users(engine: Engine, rows: Mapping[str, Attributes]) -> None:
    engine.store.replace_users(rows)
    for user_id in rows:
        engine.profiles.changed(user_id)
    engine.company.users(list(rows))


KEEPERS: dict[Shape, Callable[[Engine, Mapping[str, Attributes]], None]] = {
    ItemIn: _keep_items,
    UserIn: _keep_users,
}


def _unknown(shape: Shape) -> UnknownIdError:
    name = shape.KEY.removesuffix("_id")
    return UnknownIdError(f"no {name} of this id", hint="ids are compared as text", field=shape.KEY)


def _listed(body: Any, name: str) -> list[Any]:
    if not isinstance(body, dict):
        raise InputError(f"expected an object or {{'{name}': [...]}}", hint="see /openapi.json")
    if name not in body:
        return [body]
    many = body[name]
    if not isinstance(many, list) or not 1 <= len(many) <= MAX_RECORDS or len(body) > 1:
        raise InputError(
            f"{name} must be the only field: a list of 1 to {MAX_RECORDS}",
            hint="split larger ones, or send lines to /v1/bulk",
            field=name,
        )
    return many
