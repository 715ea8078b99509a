"""Segment: `track` messages of its e-commerce names, one or a `batch`, as its libraries send them.

`anonymousId` is a guest, who becomes the user in the first message with a `userId` too. A message counts once
by its `messageId`, an order also by its `order_id`. Messages that say nothing of items (`page`, `identify`,
other names) are ignored.
"""

from __future__ import annotations

from typing import Any, Final

from intently.serving.compat.translated import (
    Given,
    Translated,
    derived_id,
    first,
    listed,
    number,
    products,
    searched,
)

NAMES: Final = {
    "product viewed": "view",
    "product clicked": "click",
    "product added": "cart_add",
    "product removed": "cart_remove",
    "order completed": "purchase",
    "product list viewed": "impression",
    "products searched": "search",
    "product reviewed": "rate",
    "product shared": "share",
}
LISTS: Final = ("purchase", "impression")
MAX_MESSAGES: Final = 1000


def recognised(body: Any) -> bool:
    """Whether this is a message, or a batch of messages, of Segment."""
    if not isinstance(body, dict):
        return False
    return "batch" in body or ("type" in body and ("userId" in body or "anonymousId" in body))


def translated(body: Any) -> Translated:
    """Native events of one message or of a batch; raises InputError when there are none."""
    found = Translated()
    is_one = isinstance(body, dict) and "batch" not in body
    messages = [body] if is_one else listed(body, "batch", MAX_MESSAGES)
    for place, message in enumerate(messages):
        name = _name(message)
        if name is None:
            found.ignored += 1
        else:
            _add(found, place, message, name)
    return found


def _name(message: Any) -> str | None:
    """Our name of what a message tells; None when it tells nothing of items."""
    if not isinstance(message, dict) or message.get("type", "track") != "track":
        return None
    event = message.get("event")
    return NAMES.get(event.strip().lower()) if isinstance(event, str) else None


def _add(found: Translated, place: int, message: Given, name: str) -> None:
    properties = message.get("properties")
    told = properties if isinstance(properties, dict) else {}
    order = first(told, "order_id") if name == "purchase" else None
    mark = ("order", order) if order is not None else first(message, "messageId")
    who = {
        "user_id": first(message, "userId"),
        "session_id": first(message, "anonymousId"),
        "event": name,
        "timestamp": first(message, "timestamp", "originalTimestamp", "sentAt"),
    }
    if name == "search":
        item_id = searched(told.get("query"))
        found.add(place, who | {"item_id": item_id, "event_id": _mark(mark, 0)})
        return
    items = products(told.get("products")) if name in LISTS else []
    for index, item in enumerate(items or [told]):
        event = who | {
            "item_id": first(item, "product_id", "productId", "sku", "id"),
            "price": number(item, "price"),
            "quantity": number(item, "quantity"),
            "value": number(item, "rating") if name == "rate" else None,
            "event_id": _mark(mark, index),
        }
        found.add(place, event)


def _mark(mark: Any, index: int) -> str | None:
    return None if mark is None else derived_id("segment", mark, index)
