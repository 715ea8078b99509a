"""The parts behind an answer: catalogue, carts, guests, baskets, what was served."""

from __future__ import annotations

import numpy as np
import polars as pl
import pytest

from intently.errors import GoneError, InputError
from intently.schema import EVENT_CODES
from intently.serving.state.baskets import Baskets
from intently.serving.state.carts import Carts
from intently.serving.state.catalogue import REMOVED, Catalogue
from intently.serving.state.guests import Guests
from intently.serving.state.numbers import Numbers
from intently.serving.state.served import PAGE_S, Page, Pages, Served

DAY = 86400.0


def catalogue() -> Catalogue:
    made = Catalogue(Numbers(["a", "b"]))
    made.learn(pl.DataFrame({"item_id": ["b", "c"], "title": ["Bee", "Sea"], "price": [1.5, None]}))
    return made


def test_rows_are_item_numbers_whatever_came_first() -> None:
    found = catalogue()
    assert found.frame()["item_id"].to_list() == ["a", "b", "c"]
    assert found.frame()["title"].to_list() == [None, "Bee", "Sea"]
    assert (found.titles, found.prices) == (["", "Bee", "Sea"], [None, 1.5, None])


def test_a_later_table_wins_or_only_tells_of_unknown_items() -> None:
    found = catalogue()
    found.learn(pl.DataFrame({"item_id": ["b", "a"], "title": ["Other", "Ay"], "more": [1, 2]}), over=False)
    assert found.frame()["title"].to_list() == ["Ay", "Bee", "Sea"]
    assert found.frame()["more"].to_list() == [2, None, None]
    found.learn(pl.DataFrame({"item_id": ["b"], "title": ["Bumble"], "stock": [3]}))
    assert found.frame().row(1, named=True) == {
        "item_id": "b", "title": "Bumble", "price": 1.5, "stock": 3, "more": None,
    }  # fmt: skip


def test_one_item_is_changed_without_touching_the_others() -> None:
    found = catalogue()
    version = found.version
    assert found.put("b", {"price": 2.0, "stock": 1}) == 1
    assert found.put("d", {"title": "Dee"}) == 3
    assert found.version > version
    assert found.of(1) == {"title": "Bee", "price": 2.0, "stock": 1}
    assert found.frame()["title"].to_list() == [None, "Bee", "Sea", "Dee"]
    assert found.prices[1] == 2.0


def test_a_removed_item_is_not_allowed_until_it_comes_back() -> None:
    found = catalogue()
    found.replace({"b": {REMOVED: "2026-01-01"}})
    assert found.allowed().tolist() == [True, False, True]
    assert found.of(1) == {REMOVED: "2026-01-01"}
    assert found.frame()["title"].to_list() == [None, None, "Sea"]
    found.replace({"b": {"title": "Bee again"}})
    assert found.allowed().all()
    assert found.titles[1] == "Bee again"


def test_what_is_not_of_a_columns_kind_is_unknown_in_the_table_alone() -> None:
    found = catalogue()
    found.put("a", {"price": "cheap", "size": 4})
    assert found.of(0) == {"price": "cheap", "size": 4}
    assert found.frame()["price"].to_list() == [None, 1.5, None]
    found.put("b", {"price": "2.5", "size": "M"})
    assert found.frame()["price"].to_list() == [None, 2.5, None]
    assert found.prices == [None, 2.5, None]
    assert found.frame()["size"].to_list() == ["4", "M", None]  # texts win a draw
    found.put("c", {"price": 3, "size": ["S", "M"]})
    assert found.frame()["price"].to_list() == [None, 2.5, 3.0]
    assert found.frame()["size"].to_list() == ["4", "M", '["S","M"]']


def test_newest_and_words_are_found() -> None:
    found = catalogue()
    found.put("d", {"title": "Deep sea", "category": "Water", "created_at": "2026-02-01"})
    assert found.newest(found.allowed(), 2).tolist() == [3, 2]
    assert found.about("SEA", category=False).tolist() == [2, 3]
    assert found.about("sea deep", category=False).tolist() == [3]
    assert found.about("water", category=True).tolist() == [3]
    assert found.about("no", category=True).tolist() == []


def test_a_cart_ends_with_buying_taking_out_or_time() -> None:
    rows = [
        (0, 1, "cart_add", 10.0),
        (0, 2, "cart_add", 11.0),
        (0, 1, "purchase", 12.0),
        (1, 1, "purchase", 9.0),
    ]
    log = pl.DataFrame(
        [(u, i, EVENT_CODES[e], t) for u, i, e, t in rows], ["user", "item", "event", "time_s"], orient="row"
    )
    carts = Carts.of_log(log)
    assert carts.of(0, 20.0).tolist() == [2]
    assert carts.of(1, 20.0).tolist() == []
    carts.add(0, 3, EVENT_CODES["cart_add"], 20.0)
    carts.add(0, 2, EVENT_CODES["cart_remove"], 21.0)
    assert carts.of(0, 22.0).tolist() == [3]
    assert carts.of(0, 22.0 + 31 * DAY).tolist() == []


def test_a_session_belongs_to_the_first_who_signs_in() -> None:
    users = Numbers(["session:s", "ann", "bob"])
    guests = Guests(users)
    guests.met("ann", "s")
    guests.met("bob", "s")
    assert (guests.owner(0), guests.were(1), guests.were(2)) == (1, [0], [])
    guests.met("bob", "t")  # signed in before the guest of this session did anything
    late = users.add("session:t")
    guests.came(late, "session:t")
    assert guests.owner(late) == 2


def test_baskets_name_what_is_bought_with_an_item_not_what_everyone_buys() -> None:
    user = np.array([0, 0, 0, 1, 1, 2, 2, 3, 4, 5], np.int32)
    item = np.array([0, 1, 9, 0, 1, 2, 9, 9, 9, 9], np.int32)
    baskets = Baskets(user, item, np.full(10, 7.0), n_items=10)
    found, scores = baskets.together(np.array([0], np.int32), 5)
    assert found.tolist() == [1, 9]
    assert scores[0] == pytest.approx(2 / 2**0.5)
    assert baskets.together(np.array([5], np.int32), 5)[0].tolist() == []


def test_cursors_are_refused_when_old_strange_or_anothers() -> None:
    pages = Pages(b"one")
    whole = Page("ann", 100.0, np.arange(3, dtype=np.int32), np.ones(3), np.zeros(3, np.uint8), np.ones(3))
    pages.keep("rec_1", whole)
    cursor = pages.cursor("rec_1", 2)
    assert pages.at(cursor, "ann", 200.0) == ("rec_1", whole, 2)
    with pytest.raises(InputError, match="belongs to another user"):
        pages.at(cursor, "bob", 200.0)
    with pytest.raises(GoneError, match="too old"):
        pages.at(cursor, "ann", 101.0 + PAGE_S)
    with pytest.raises(InputError, match="was not made by this service"):
        Pages(b"another").at(cursor, "ann", 200.0)


def test_what_was_served_is_remembered_by_time() -> None:
    served = Served()
    served.note("ann", np.array([1, 2], np.int32), 10.0)
    served.note("ann", np.array([2], np.int32), 20.0)
    assert served.since("ann", 5.0).tolist() == [1, 2, 2]
    assert served.since("ann", 15.0).tolist() == [2]
    assert served.since("bob", 0.0).tolist() == []
