"""The filter language: what it lets through is known by hand; what it cannot read is said with its place."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.schema import EVENT_CODES
from intently.serving.rules.faults import FilterError
from intently.serving.rules.filters import STRANGER, Shopper, compile_filter
from intently.serving.rules.grammar import MAX_DEPTH, MAX_LENGTH, MAX_LISTED, MAX_PARTS
from intently.serving.rules.kinds import kinds
from intently.serving.rules.moments import seconds_of

NAN = float("nan")
SHOP = pl.DataFrame(
    {
        "item_id": list("abcdef"),
        "title": ["Red Shoes", "blue shirt", "红色跑步鞋", "x", None, "SHOES"],
        "brand": ["Nike", "海尔", "Nike", None, "B", "A"],
        "category": ["Shoes", "shirts", "鞋 > 跑步", "y", None, "shoes > run"],
        "price": [10.0, 60.0, None, NAN, 5.0, 50.0],
        "stock": [1, 0, 3, None, 5, 6],
        "active": [True, False, None, True, True, False],
        "tags": [["Vip"], [], None, ["x", "y"], ["VIP"], ["z"]],
        "created_at": ["2024-01-01T00:00:00Z", "2023-01-01", None, "2024-01-20", "2024-01-25", "soon"],
        "最低价": [1.0, 2.0, 3.0, 4.0, 5.0, 6.0],
        "Sub Category": ["p", "q", "p", "q", "p", "q"],
    }
)
COLUMNS = kinds(dict(SHOP.schema))
NOW_S = seconds_of("2024-01-31") or 0.0
ANNA = Shopper(
    at_s=NOW_S,
    attributes={"segment": "vip", "likes": ["NIKE", "b"], "age": 30, "brand": "Nike", "adult": True},
    items=np.array([0, 5, 2], np.int32),
    time_s=np.array([NOW_S - 86_400.0, NOW_S - 86_400.0 * 40, NOW_S]),
    events=np.array([EVENT_CODES[name] for name in ("purchase", "purchase", "view")], np.uint8),
    cart=np.array([4], np.int32),
)

PASSES = {
    'price <= 50 and "shoes" in category and stock > 0 and not user.bought(item)': "",
    'price <= 50 and "shoes" in category and stock > 0': "af",
    'brand in ["Nike", "B"]': "ace",
    'brand not in ["Nike", "B"]': "bdf",  # d has no brand: not being among them is the other way round
    "age_days(created_at) < 30": "de",
    "age_days(created_at) <= 30": "ade",
    'title contains "SHOES"': "af",
    'title contains "鞋"': "c",
    '"跑步" in category': "c",
    '"vip" in tags': "ae",
    "missing(price)": "cd",
    "not missing(item.price) and price != 50": "abe",
    "price > 5": "abf",
    "not price > 5": "cde",  # a comparison with a missing value is false
    "price == stock": "e",
    "10 <= price < 60": "af",
    "active": "ade",
    "active == false": "bf",
    "not active": "bcf",
    'created_at > "2024-01-10"': "def",  # a text: compared letter by letter
    "`Sub Category` == 'p'": "ace",
    "价格 <= 50 且 品牌 = “Nike”": "a",
    "（最低价 ≥ 3 并且 最低价 ≠ 4） 或者 商品 属于 【“a”，‘b’】": "abcef",
    "非 价格 > 5 或 库存 = 0": "bcde",
    'lower(brand) == "nike"': "ac",
    'brand == "nike"': "",
    'user.segment == "vip"': "abcdef",
    'user.segment == "vip" and price < 20': "ae",
    "user.age >= 18 and user.adult": "abcdef",
    "user.nothing == 3 or active": "ade",
    "missing(user.nothing)": "abcdef",
    "user.age == brand": "",
    "brand in user.likes": "ace",
    '"nike" in user.likes and stock > 4': "ef",
    "brand == user.brand": "ac",
    "title contains user.segment": "",
    "user.bought(item)": "af",
    "user.bought(item, 7)": "a",
    "user.viewed(item) or user.in_cart(item)": "ce",
    "not (user.bought(item) or price > 20)": "cde",
    "TRUE": "abcdef",
    "false or not true": "",
}


def passing(text: str, user: Shopper = STRANGER) -> str:
    mask = compile_filter(text, COLUMNS).mask(SHOP, user)
    return "".join(SHOP["item_id"].filter(pl.Series(mask)))


@pytest.mark.parametrize("text", PASSES)
def test_a_filter_lets_through_what_it_says(text: str) -> None:
    assert passing(text, ANNA) == PASSES[text]


@pytest.mark.parametrize("text", PASSES)
def test_some_items_alone_are_answered_as_among_all(text: str) -> None:
    made, few = compile_filter(text), np.array([5, 0, 3], np.int32)
    assert made.mask(SHOP, ANNA, few).tolist() == made.mask(SHOP, ANNA)[few].tolist()


def test_a_stranger_has_no_attributes_and_did_nothing() -> None:
    assert passing('user.segment == "vip" or user.bought(item)') == ""
    assert passing("not user.bought(item) and price < 20") == "ae"


def test_columns_of_every_type_compare_alike() -> None:
    shop = pl.DataFrame({"n": [1, 2], "day": ["2024-01-01", "2024-02-01"], "kind": ["a", "b"]})
    narrow = shop.with_columns(
        pl.col("n").cast(pl.Int8),
        pl.col("day").str.to_date(),
        pl.col("kind").cast(pl.Categorical),
        at=pl.col("day").str.to_datetime(time_zone="Asia/Shanghai"),
    )
    for text in ("n > 1.5", 'day >= "2024-02-01"', 'kind in ["b"]', "n == 2"):
        assert compile_filter(text).mask(shop).tolist() == [False, True], text
        assert compile_filter(text).mask(narrow).tolist() == [False, True], text
    last = 'at > "2024-01-31T15:59:59Z" and at <= "2024-01-31T16:00:00Z"'
    assert compile_filter(last).mask(narrow).tolist() == [False, True]


def test_a_changed_catalogue_is_seen_and_an_unchanged_one_is_not_read_again() -> None:
    made = compile_filter("price < 20")
    first = made.mask(SHOP)
    assert made.mask(SHOP) is first
    dearer = SHOP.with_columns(price=pl.lit(30.0))
    assert not made.mask(dearer).any()
    assert made.mask(SHOP).tolist() == first.tolist()


def test_an_age_moves_with_the_shops_clock() -> None:
    made = compile_filter("age_days(created_at) < 30")
    later = Shopper(at_s=NOW_S + 20 * 86_400.0)
    assert made.timed
    assert [made.mask(SHOP, Shopper(at_s=NOW_S)).sum(), made.mask(SHOP, later).sum()] == [2, 1]


def test_a_mask_cannot_be_written_to() -> None:
    with pytest.raises(ValueError, match="read-only"):
        compile_filter("price < 20").mask(SHOP)[0] = False


WRONG = {
    "pirce < 3": (1, "unknown column 'pirce'", "did you mean 'price'?"),
    "price < 3 and item.stok > 0": (15, "unknown column 'stok'", "did you mean 'stock'?"),
    "user.boght(item)": (1, "unknown function 'user.boght'", "did you mean 'user.bought'?"),
    "system(item)": (1, "unknown function 'system'", "allowed: age_days, lower, missing, user.bought"),
    "user.bought(price)": (1, "takes item", r"write user.bought\(item\)"),
    "user.bought(item, -1)": (19, "got -1 days", "user.bought"),
    "a.b.c == 1": (1, "'a.b.c' is no name", "item.column, user.attribute"),
    "item.__class__ == 1": (1, "unknown column '__class__'", "allowed: "),
    'price == "x"': (1, "'price' is a number and 'x' is a text", "like with like"),
    'price in ["a"]': (1, "the list has 'a'", "like with like"),
    'tags == "x"': (1, "a list of texts cannot be compared", '"text" in column'),
    "active < true": (1, "has no order", "== and !="),
    'price contains "x"': (1, "'price' is a number, not a text", "=="),
    "title contains 3": (16, "'3' is a number, not a text", "contains"),
    "price": (1, "'price' is a number, not true or false", "stock > 0"),
    "age_days(tags) < 3": (10, "'tags' is a list of texts, not a moment", "times"),
    "age_days(3) < 3": (10, "takes a column", "age_days"),
    "lower(price) == 'x'": (7, "'price' is a number, not a text", "texts"),
    "missing(price) == true": (1, "true or false already", "without a comparison"),
    "price <": (8, "ends too early", "expected: "),
    "price < 3 brand": (11, "'brand' was not expected", "and, or, the end"),
    "(price < 3": (11, "ends too early", r"\)"),
    "price < 3)": (10, r"'\)' was not expected", "the end"),
    'brand == "Nike': (10, "does not end", "quotation mark"),
    "price < 1.2.3": (9, "no number", "49.90"),
    "price < 1e99": (9, "too large", "1e15"),
    "price ; stock": (7, "';' has no meaning", "allowed: names"),
    "   ": (1, "is empty", "write one like"),
    "active and " * 300 + "active": (MAX_LENGTH, "characters, allowed: 2000", "several rules"),
    " or ".join(["price<1"] * 70): (1, f"more than {MAX_PARTS} parts", "several rules"),
    "not " * (MAX_DEPTH + 1) + "active": (None, "deeper than", "flatter"),
    f"stock in [{','.join(['1'] * (MAX_LISTED + 1))}]": (10, f"allowed: {MAX_LISTED}", "attribute"),
}


@pytest.mark.parametrize("text", WRONG, ids=lambda text: text[:24])
def test_what_is_wrong_is_said_with_its_place_and_what_is_allowed(text: str) -> None:
    at, wrong, hint = WRONG[text]
    with pytest.raises(FilterError, match=wrong) as caught:
        compile_filter(text, COLUMNS)
    if at is not None:
        assert caught.value.at == at
    with pytest.raises(FilterError, match=hint):
        raise FilterError(1, "", caught.value.hint)
    assert len(str(caught.value)) < 600


def test_an_attribute_that_no_user_has_is_refused_where_they_are_known() -> None:
    with pytest.raises(FilterError, match="did you mean 'segment'"):
        compile_filter('user.segmnt == "vip"', COLUMNS, {"segment": "text"})
    with pytest.raises(FilterError, match="unknown column 'price'"):
        compile_filter("price < 3").mask(pl.DataFrame({"item_id": ["a"]}))


# -- whatever is written --------------------------------------------------------------------------

SCRAPS = st.sampled_from(
    [
        *(
            "price",
            "stock",
            "title",
            "tags",
            "active",
            "created_at",
            "品牌",
            "item",
            "user.age",
            "user.likes",
        ),
        *(
            "and",
            "or",
            "not",
            "in",
            "contains",
            "true",
            "missing(",
            "age_days(",
            "lower(",
            "user.bought(item",
        ),
        *(
            "<",
            "<=",
            "==",
            "!=",
            "(",
            ")",
            "[",
            "]",
            ",",
            ".",
            '"',
            '"shoes"',
            "'x'",
            "“鞋”",
            "3",
            "-1.5",
            "1e9",
        ),
        *("`", "\\", "\n", "\0", "（", "）", "×", "\ud800", "9" * 30, "__class__", ";", "＜", "٣", "²"),
    ]
)


@settings(max_examples=400, deadline=None)
@given(st.one_of(st.text(max_size=60), st.lists(SCRAPS, max_size=14).map(" ".join)))
def test_any_text_is_a_filter_or_a_filter_error(text: str) -> None:
    refused: FilterError | None = None
    try:
        mask = compile_filter(text, COLUMNS).mask(SHOP, ANNA)
    except FilterError as error:
        refused = error
    if refused is None:
        assert mask.shape == (SHOP.height,)
        assert mask.dtype == bool
    else:
        assert 1 <= refused.at <= max(len(text), 1) + 1
        assert str(refused).isprintable()


def oracle(text: str, row: dict[str, Any]) -> bool:
    """One comparison, as the manual says it, by Python."""
    name, sign, number = text.split()
    value = row[name]
    if value is None or (isinstance(value, float) and math.isnan(value)):
        return False
    compare = {"<": value < float(number), "==": value == float(number), ">=": value >= float(number)}
    return compare[sign]


LEAVES = st.builds(
    lambda name, sign, number: f"{name} {sign} {number}",
    st.sampled_from(["price", "stock"]),
    st.sampled_from(["<", "==", ">="]),
    st.sampled_from([0, 3, 5, 10, 50]),
)
TREES: st.SearchStrategy[Any] = st.recursive(
    LEAVES,
    lambda inner: st.one_of(
        st.tuples(st.just("not"), inner),
        st.tuples(
            st.sampled_from(["and", "or"]), inner, inner, st.sampled_from(["", " and not user.bought(item)"])
        ),
    ),
    max_leaves=6,
)


def written(made: Any) -> str:
    if isinstance(made, str):
        return made
    if made[0] == "not":
        return f"not ({written(made[1])})"
    word, left, right, more = made
    return f"(({written(left)}) {word} ({written(right)})){more}"


def holds(made: Any, row: dict[str, Any]) -> bool:
    if isinstance(made, str):
        return oracle(made, row)
    if made[0] == "not":
        return not holds(made[1], row)
    word, left, right, more = made
    both = (holds(left, row), holds(right, row))
    return (all(both) if word == "and" else any(both)) and not (more and row["item_id"] in "af")


@settings(max_examples=150, deadline=None)
@given(TREES)
def test_masks_agree_with_rows_judged_one_by_one(made: Any) -> None:
    expected = [holds(made, row) for row in SHOP.iter_rows(named=True)]
    assert compile_filter(written(made), COLUMNS).mask(SHOP, ANNA).tolist() == expected


def test_each_user_is_judged_by_their_own_attributes() -> None:
    made = compile_filter("brand == user.brand")
    for brand, passes in (("Nike", "ac"), ("A", "f"), ("Nike", "ac"), (None, "")):
        mask = made.mask(SHOP, Shopper(attributes={"brand": brand}))
        assert "".join(SHOP["item_id"].filter(pl.Series(mask))) == passes
