"""The words of the three tables: columns, event names, and what other systems call them.

Everything that reads a shop's rows goes through here, so that a name is decided once.
"""

from __future__ import annotations

from typing import Final

import numpy as np
from numpy.typing import NDArray

IntArray = NDArray[np.int32]
LongArray = NDArray[np.int64]
FloatArray = NDArray[np.float32]
DoubleArray = NDArray[np.float64]
ByteArray = NDArray[np.uint8]
BoolArray = NDArray[np.bool_]

EVENTS: Final = (
    "view",
    "click",
    "cart_add",
    "cart_remove",
    "purchase",
    "rate",
    "comment",
    "share",
    "impression",
    "search",
)
"""Event names; the position is the code stored in `Dataset.events`."""

EVENT_CODES: Final = {name: code for code, name in enumerate(EVENTS)}

POSITIVE: Final = ("view", "click", "cart_add", "purchase", "rate", "comment", "share")
"""Events that say "this user met this item on purpose"; the others never enter a history."""

TARGETS: Final = ("purchase", "cart_add", "rate", "click", "view", "comment", "share")
"""What a shop wants predicted, strongest first: the first one present is the default target."""

SPEEDS: Final = ("auto", "exact", "fast", "fastest")
"""How texts are encoded; `auto` is fast where that was measured to be faithful, and never fastest."""

EVENT_ALIASES: Final = {
    "view_item": "view",
    "product_viewed": "view",
    "pageview": "view",
    "detail": "view",
    "pv": "view",
    "select_item": "click",
    "product_clicked": "click",
    "add_to_cart": "cart_add",
    "addtocart": "cart_add",
    "cart": "cart_add",
    "product_added": "cart_add",
    "remove_from_cart": "cart_remove",
    "product_removed": "cart_remove",
    "buy": "purchase",
    "order": "purchase",
    "order_completed": "purchase",
    "transaction": "purchase",
    "rating": "rate",
    "review": "comment",
    "products_searched": "search",
    "浏览": "view",
    "点击": "click",
    "加购": "cart_add",
    "购买": "purchase",
    "评分": "rate",
    "评论": "comment",
    "分享": "share",
}

EVENT_REQUIRED: Final = ("user_id", "item_id", "timestamp")
EVENT_OPTIONAL: Final = (
    "event",
    "value",
    "quantity",
    "price",
    "session_id",
    "event_id",
    "recommendation_id",
)
EVENT_COLUMNS: Final = EVENT_REQUIRED + EVENT_OPTIONAL

ITEM_COLUMNS: Final = (
    "item_id",
    "title",
    "description",
    "category",
    "brand",
    "price",
    "currency",
    "image",
    "seller",
    "stock",
    "created_at",
)

PATH: Final = " > "
ITEM_TEXTS: Final = ("title", "description", "category", "brand", "currency", "image", "seller")
"""Columns of items that are texts, whatever a shop sends; a list of texts is a path: "Food > Tea"."""

COLUMN_ALIASES: Final = {
    "user_id": (
        "user", "userid", "customer_id", "customerid", "customer", "visitorid", "visitor_id",
        "household_id", "client_id", "member_id", "uid", "buyer_id", "用户id", "用户", "会员id",
    ),
    "item_id": (
        "item", "itemid", "product_id", "productid", "product", "sku", "asin", "stockcode",
        "article_id", "goods_id", "movie_id", "movieid", "iid", "商品id", "商品", "产品id",
    ),
    "event": (
        "event_type", "event_name", "action", "behavior", "behaviour", "behavior_type", "type",
        "行为", "事件",
    ),
    "timestamp": (
        "time", "ts", "datetime", "date", "event_time", "created_at", "invoicedate", "order_date",
        "unixreviewtime", "transaction_timestamp", "时间", "日期", "时间戳",
    ),
    "value": ("rating", "score", "stars", "overall", "评分"),
    "quantity": ("qty", "count", "数量"),
    "price": ("unit_price", "unitprice", "amount", "价格", "单价"),
    "session_id": ("session", "sessionid", "basket_id", "order_id", "invoiceno", "visit_id", "订单号"),
    "event_id": ("eventid", "message_id"),
    "title": ("name", "product_name", "item_name", "标题", "名称", "商品名称"),
    "description": ("desc", "details", "text", "描述"),
    "category": ("categories", "category_code", "department", "genre", "genres", "类别", "分类"),
    "brand": ("manufacturer", "品牌"),
    "image": ("image_url", "img", "picture"),
    "stock": ("inventory", "availability", "库存"),
    "seller": ("vendor", "merchant", "店铺"),
}  # fmt: skip
"""Column -> what others call it; compared lower-case with spaces and dashes as underscores."""
