"""A case is fixed before any model is fitted, and holds nothing of the future."""

from __future__ import annotations

from datetime import datetime

import numpy as np
import polars as pl
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from intently.data import Dataset
from intently.data.histories import DAY_S
from intently.errors import InputError
from intently.evaluate.protocol import Case, leave_one_out, temporal


def shop(rows: list[tuple[str, str, str, float]], items: list[str] | None = None) -> Dataset:
    """Rows (user, item, event, day) after 1 January 2020."""
    events = pl.DataFrame(
        {
            "user_id": [r[0] for r in rows],
            "item_id": [r[1] for r in rows],
            "event": [r[2] for r in rows],
            "timestamp": [1577836800.0 + r[3] * DAY_S for r in rows],
        }
    )
    return Dataset.from_frames(events, None if items is None else pl.DataFrame({"item_id": items}))


DAY_10 = datetime(2020, 1, 11)

ROWS = [
    ("ann", "a", "purchase", 1),
    ("ann", "b", "view", 2),
    ("ann", "a", "purchase", 12),  # a repeat is a truth of a temporal case
    ("ann", "c", "purchase", 13),
    ("ann", "c", "purchase", 14),  # twice bought, once true
    ("ann", "d", "view", 15),  # not the target
    ("bob", "b", "purchase", 3),
    ("bob", "b", "purchase", 45),  # beyond the horizon
    ("eve", "new", "purchase", 11),  # a stranger buys an item nobody knew
]


def truth_of(case: Case, dataset: Dataset) -> dict[str, list[str]]:
    return {
        dataset.users[int(user)]: dataset.items.names(case.truth[case.indptr[b] : case.indptr[b + 1]])
        for b, user in enumerate(case.histories.users)
    }


def test_a_temporal_case_worked_by_hand() -> None:
    data = shop(ROWS)
    case = temporal(data, DAY_10, horizon_days=20)
    assert truth_of(case, data) == {"ann": ["a", "c"], "eve": ["new"]}
    assert case.left_out == 1
    assert case.n_true.tolist() == [2, 1]
    assert case.repeats is None
    assert case.histories.select([0]).items.tolist() == data.items.indices(["a", "b"]).tolist()
    assert case.histories.at_s.tolist() == [case.cut_s] * 2
    groups = {name: mask.tolist() for name, mask in case.user_groups().items()}
    assert groups == {"hot": [False, False], "warm": [True, False], "cold": [False, True]}
    cold = case.item_groups()["cold"]
    assert [name for name, is_cold in zip(data.items.ids, cold, strict=True) if is_cold] == ["c", "d", "new"]
    indptr, items = case.only_items(cold)
    assert indptr.tolist() == [0, 1, 2]
    assert data.items.names(items) == ["c", "new"]


def test_without_a_cut_the_last_horizon_is_the_future() -> None:
    case = temporal(shop(ROWS), horizon_days=5)
    assert case.train.n_events == 8
    assert len(case) == 1


def test_views_are_the_truth_where_they_are_the_target() -> None:
    data = shop(ROWS)
    assert truth_of(temporal(data, DAY_10, target="view"), data) == {"ann": ["d"]}


def test_the_target_is_chosen_without_looking_ahead() -> None:
    data = shop([("u", "a", "view", 1), ("u", "b", "view", 11), ("u", "c", "purchase", 12)])
    case = temporal(data, DAY_10)
    assert case.target == "view"
    assert truth_of(case, data) == {"u": ["b"]}


moments = st.lists(
    st.tuples(
        st.sampled_from("uvw"),
        st.sampled_from("abcd"),
        st.sampled_from(["purchase", "view", "impression"]),
        st.integers(0, 40),
    ),
    min_size=2,
    max_size=30,
)


@settings(max_examples=100, deadline=None)
@given(moments, st.integers(1, 39))
def test_nothing_of_the_future_can_be_learned_from(rows: list[tuple[str, str, str, float]], day: int) -> None:
    """Neither the training part nor a history has an event at or after the cut, whatever the shop."""
    try:
        case = temporal(shop(rows), 1577836800.0 + day * DAY_S, horizon_days=10)
    except InputError:
        return  # a side of the cut is empty
    assert case.train.moments().max() < case.cut_s
    assert (case.histories.time_s < case.cut_s).all()
    assert (case.n_true > 0).all()
    past = [r for r in rows if r[3] < day]
    assert case.train.n_events == len(past)
    future = {r[:2] for r in rows if day <= r[3] < day + 10 and r[2] == case.target}
    assert case.n_true.sum() == len(future)


def test_changing_the_future_changes_nothing_that_is_learned_from() -> None:
    other = [r if r[3] < 10 else (r[0], "a", "view", r[3]) for r in ROWS]
    ids = ["a", "b", "c", "d", "new"]
    one = temporal(shop(ROWS, ids), DAY_10, target="view")
    two = temporal(shop(other, ids), DAY_10, target="view")
    assert one.train.fingerprint == two.train.fingerprint


def test_leave_one_out_holds_back_the_last_event_of_each_user() -> None:
    data = shop(ROWS)
    case = leave_one_out(data)
    assert truth_of(case, data) == {"ann": ["d"], "bob": ["b"]}
    assert case.left_out == 1  # eve has a single event: it stays in the training part
    assert case.train.n_events == len(ROWS) - 2
    assert case.repeats is False
    assert leave_one_out(data, repeats=None).repeats is None
    assert case.histories.lengths.tolist() == [5, 1]
    days = (case.histories.at_s - 1577836800.0) / DAY_S
    assert days.tolist() == [15, 45]  # asked when it happened


def test_an_order_without_times_can_be_left_out_but_not_cut() -> None:
    data = Dataset.from_sequences([["a", "b", "c"], ["b", "a"]])
    case = leave_one_out(data)
    assert data.items.names(case.truth) == ["c", "a"]
    with pytest.raises(InputError, match="has an order but no times"):
        temporal(data)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"cut": datetime(2019, 1, 1)}, "nothing happened before the cut 2019-01-01T00:00:00; the data runs"),
        ({"cut": datetime(2021, 1, 1)}, "no purchase in the 28 days from 2021-01-01"),
        ({"horizon_days": 0}, "horizon_days must be above 0, got 0"),
        ({"target": "buy"}, "unknown target 'buy'; allowed: view, click"),
    ],
)
def test_a_case_without_a_past_or_a_future_is_refused(arguments: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        temporal(shop(ROWS), **arguments)


def test_single_events_cannot_be_left_out() -> None:
    with pytest.raises(InputError, match="no user has two events"):
        leave_one_out(shop([("u", "a", "view", 1), ("v", "a", "view", 2)]))


def test_every_user_and_item_is_in_exactly_one_group() -> None:
    rows = [("u", f"i{j}", "view", j) for j in range(7)] + [("u", "z", "view", 12), ("v", "i0", "view", 13)]
    case = temporal(shop(rows), DAY_10)
    for groups in (case.user_groups(), case.item_groups()):
        assert (np.sum(list(groups.values()), axis=0) == 1).all()
    assert case.user_groups()["hot"].tolist() == [True, False]
