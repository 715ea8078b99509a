"""Google Analytics 4: the JSON of the Measurement Protocol, as servers and tag managers send it.

`client_id` is a device: with the session's id it names a guest, who becomes the user once `user_id` is there.
Events about items are taken, one for each of `items`; `search` keeps its words; others are ignored. An event
counts once by its time or, for a purchase, its `transaction_id`; where neither was sent nothing tells a
repetition from a second event, and both count.
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
    "view_item": "view",
    "select_item": "click",
    "add_to_cart": "cart_add",
    "remove_from_cart": "cart_remove",
    "purchase": "purchase",
    "view_item_list": "impression",
    "search": "search",
    "view_search_results": "search",
    "share": "share",
}
MAX_MESSAGES: Final = 100


def recognised(body: Any) -> bool:
    """Whether this is a payload of the Measurement Protocol."""
    return isinstance(body, dict) and "events" in body and ("client_id" in body or "app_instance_id" in body)


def translated(body: Any) -> Translated:
    """Native events of a payload; raises InputError when it has no list of events."""
    found = Translated()
    device = first(body, "client_id", "app_instance_id") if isinstance(body, dict) else None
    for place, message in enumerate(listed(body, "events", MAX_MESSAGES)):
        name = message.get("name") if isinstance(message, dict) else None
        params = message.get("params") if isinstance(message, dict) else None
        if name not in NAMES:
            found.ignored += 1
            continue
        _add(found, place, body, device, message, params if isinstance(params, dict) else {})
    return found


def _add(found: Translated, place: int, body: Given, device: Any, message: Given, params: Given) -> None:
    name = message["name"]
    micros = message.get("timestamp_micros", body.get("timestamp_micros"))
    order = first(params, "transaction_id") if name == "purchase" else None
    visit = first(params, "session_id", "ga_session_id")
    who = {
        "user_id": first(body, "user_id"),
        "session_id": f"{device}.{visit}" if device and visit else device,
        "event": NAMES[name],
        "timestamp": _seconds(micros),
    }
    known = order is not None or micros is not None
    told = (name, order) if order is not None else (device, who["user_id"], name, micros, place)
    if NAMES[name] == "search":
        item_id = searched(params.get("search_term"))
        event_id = derived_id("ga4", *told, item_id) if known else None
        found.add(place, who | {"item_id": item_id, "event_id": event_id})
        return
    for index, item in enumerate(products(params.get("items")) or [params]):
        item_id = first(item, "item_id", "id", "item_name")
        event = who | {
            "item_id": item_id,
            "price": number(item, "price"),
            "quantity": number(item, "quantity"),
            "event_id": derived_id("ga4", *told, index, item_id) if known else None,
        }
        found.add(place, event)


def _seconds(micros: Any) -> Any:
    """Seconds since 1970 of a number of microseconds, which is often sent as text."""
    if isinstance(micros, str) and micros.isdigit() and len(micros) <= 20:
        micros = int(micros)
    if isinstance(micros, int | float) and not isinstance(micros, bool):
        return micros / 1e6
    return micros
