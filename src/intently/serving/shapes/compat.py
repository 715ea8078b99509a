"""What other systems send, as far as it is read; whatever else they send is left alone."""

from __future__ import annotations

from typing import Any

from pydantic import BaseModel, Field


class Ga4Event(BaseModel):
    """One event of the Measurement Protocol."""

    name: str = Field(description="view_item, select_item, add_to_cart, purchase, ...; others are ignored")
    params: dict[str, Any] = Field({}, description="items, transaction_id, session_id, search_term")
    timestamp_micros: int | str | None = None


class Ga4Payload(BaseModel):
    """The body of Google Analytics 4's Measurement Protocol."""

    client_id: str = Field(description="the device; with the session it names a guest")
    user_id: str | None = None
    timestamp_micros: int | str | None = None
    events: list[Ga4Event] = Field(min_length=1, max_length=100)


class SegmentMessage(BaseModel):
    """One message of Segment."""

    type: str = Field("track", description="others than track are ignored")
    event: str | None = Field(None, description="Product Viewed, Order Completed, ...; others are ignored")
    userId: str | None = None  # noqa: N815 - Segment's own names
    anonymousId: str | None = None  # noqa: N815
    messageId: str | None = None  # noqa: N815
    timestamp: str | None = None
    properties: dict[str, Any] = Field({}, description="product_id or sku, products, order_id, query, price")


class SegmentPayload(SegmentMessage):
    """A message, or a batch of them."""

    batch: list[SegmentMessage] | None = Field(None, min_length=1, max_length=1000)
