"""Counters that fade: what they say is what a slow count of the same events says."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable

import numpy as np
import pytest

from intently.schema import EVENT_CODES
from intently.serving.online.counters import GATHER, HALF_LIVES_DAYS, MOST_GATHERED, Counters
from intently.serving.online.counting import BEHIND, HOLD_S, Counting
from intently.serving.online.covisits import Neighbours, _heaviest
from intently.serving.online.decay import DecayedCounts
from intently.serving.online.visits import SESSION_S, Visits

DAY = 86400.0
CLICK, PURCHASE = EVENT_CODES["click"], EVENT_CODES["purchase"]


def ints(*values: int) -> np.ndarray:
    return np.array(values, np.int32)


def log(n: int = 3000, seed: int = 0) -> tuple[np.ndarray, np.ndarray, np.ndarray, np.ndarray]:
    """Users, items, events, moments in order of time: 40 users, 25 items, visits of some minutes."""
    rng = np.random.default_rng(seed)
    moments = np.sort(rng.integers(0, 60 * 24 * 6, n) * 600.0 + rng.integers(0, 300, n))
    return (
        rng.integers(0, 40, n).astype(np.int32),
        rng.integers(0, 25, n).astype(np.int32),
        np.full(n, PURCHASE, np.uint8),
        moments,
    )


def test_an_event_counts_half_after_its_half_life_whenever_it_is_read() -> None:
    counts = DecayedCounts((1.0, 7.0))
    counts.add(ints(3, 3, 0), np.array([0.0, DAY, DAY]))
    assert counts.of(ints(3), DAY)[0].tolist() == pytest.approx([1.5, 1.0 + 0.5 ** (1 / 7)])
    assert counts.of(ints(3), 2 * DAY)[0, 0] == pytest.approx(0.75)
    assert counts.totals(DAY)[0] == pytest.approx(2.5)
    assert counts.first_s(ints(3, 0, 1, 999)).tolist() == [0.0, DAY, np.inf, np.inf]
    assert counts.of(ints(999), DAY).tolist() == [[0.0, 0.0]]


def test_the_order_of_arrival_does_not_change_a_count() -> None:
    moments = np.array([0.0, 5 * DAY, 2 * DAY, 90 * DAY])
    one, other = DecayedCounts((1.0,)), DecayedCounts((1.0,))
    one.add(ints(0, 0, 0, 0), moments)
    for moment in moments[[3, 0, 2, 1]]:
        other.add_one(0, float(moment))
    assert one.of(ints(0), 91 * DAY) == pytest.approx(other.of(ints(0), 91 * DAY))


def test_ten_years_of_a_short_half_life_stay_finite_and_exact() -> None:
    counts = DecayedCounts((0.5,))
    days = np.arange(0.0, 3650.0)
    for day in days:
        counts.add_one(7, day * DAY)
    assert counts.of(ints(7), days[-1] * DAY)[0, 0] == pytest.approx(1 / (1 - 0.25))
    counts.add_one(7, 0.0)  # far too old to be seen
    assert counts.of(ints(7), days[-1] * DAY)[0, 0] == pytest.approx(1 / (1 - 0.25))


def test_pairs_within_a_visit_count_both_ways_and_across_visits_forward() -> None:
    visits = Visits(look_back=3)
    moments = np.array([0.0, 60.0, 10 * SESSION_S])
    within, across = visits.add(ints(0, 0, 0), ints(1, 2, 3), moments)
    assert set(zip(within.ones.tolist(), within.others.tolist(), strict=True)) == {(1, 2), (2, 1)}
    assert set(zip(across.ones.tolist(), across.others.tolist(), strict=True)) == {(1, 3), (2, 3)}
    assert visits.last(0).tolist() == [1, 2, 3]
    assert visits.last(5).tolist() == []
    assert visits.add_one(0, 4, 10 * SESSION_S + 1) == ([3], [2, 1])
    assert visits.last(0).tolist() == [2, 3, 4]
    assert visits.add_one(0, 9, 30.0) is None  # late: taken by `add`


def test_an_event_at_a_time_counts_what_the_log_at_once_counts() -> None:
    users, items, events, moments = log()
    at_once, one_by_one, in_parts, together = (Counters() for _ in range(4))
    at_once.observe_log(users, items, events, moments)
    for row in zip(users.tolist(), items.tolist(), events.tolist(), moments.tolist(), strict=True):
        one_by_one.observe(*row)
        one_by_one.settle()
    for part in np.array_split(np.arange(len(users)), 9):
        together.observe_all(*(column[part].tolist() for column in (users, items, events, moments)))
    together.settle()
    for part in np.array_split(np.arange(len(users)), 7):
        in_parts.observe_log(users[part], items[part], events[part], moments[part])
    every, end_s = np.arange(25, dtype=np.int32), float(moments[-1])
    for other in (one_by_one, in_parts, together):
        assert other.n_events == at_once.n_events == len(users)
        for ours, theirs in zip(other.popular(every, end_s), at_once.popular(every, end_s), strict=True):
            np.testing.assert_allclose(ours, theirs, rtol=1e-9)
        for item in range(25):
            assert other.together.of(item) == pytest.approx(at_once.together.of(item), rel=1e-4)
            assert other.after.of(item) == pytest.approx(at_once.after.of(item), rel=1e-4)
        for user in range(40):
            assert other.visits.last(user).tolist() == at_once.visits.last(user).tolist()


def until(true: Callable[[], bool]) -> None:
    for _ in range(1000):
        if true():
            return
        time.sleep(0.01)
    raise AssertionError("it never was")


def test_what_has_gathered_is_counted_aside_when_it_is_much_or_when_someone_reads() -> None:
    counters = Counters()
    counting = Counting(counters)
    counting.start()
    for n in range(GATHER - 1):
        counters.observe(0, n % 3, 1, 1e9 + n)
        counting.brought()
    assert (counters.n_events, counters.waiting) == (0, GATHER - 1)
    counters.observe(0, 0, 1, 1e9 + GATHER)
    counting.brought()
    until(lambda: counters.n_events == GATHER)
    counting.stop()
    users = [0] * MOST_GATHERED  # nobody counts aside any more
    counters.observe_all(users, users, [1] * MOST_GATHERED, [2e9] * MOST_GATHERED)
    assert (counters.n_events, counters.waiting) == (GATHER + MOST_GATHERED, 0)
    counters.observe(0, 1, 1, 2e9)
    counters.popular(np.array([0], np.int32), 2e9)
    assert counters.n_events == GATHER + MOST_GATHERED + 1


def test_who_brings_more_than_is_counted_is_held_back_a_little(monkeypatch: pytest.MonkeyPatch) -> None:
    counters, counted = Counters(), threading.Event()
    settle = counters.settle
    monkeypatch.setattr(counters, "settle", lambda: (counted.wait(10), settle()))
    counting, many = Counting(counters), [0] * (BEHIND // 2)
    counting.start()
    held: list[list[float]] = []
    for _ in range(3):
        counters.observe_all(many, many, [1] * len(many), [2e9] * len(many))
        held.append([])
        with monkeypatch.context() as patch:
            patch.setattr(time, "sleep", held[-1].append)
            counting.brought()
    assert held == [[], [], [1.5 * HOLD_S]]
    counted.set()
    until(lambda: counters.waiting == 0)
    counting.stop()


def test_a_fault_in_counting_is_logged_and_the_next_events_are_counted(
    monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    counters = Counters()
    settle, faults = counters.settle, [ValueError("no")]

    def once() -> None:
        if faults:
            raise faults.pop()
        settle()

    monkeypatch.setattr(counters, "settle", once)
    counting, many = Counting(counters), [0] * GATHER
    counting.start()
    for _ in range(2):
        counters.observe_all(many, many, [1] * GATHER, [2e9] * GATHER)
        counting.brought()
        until(lambda: not faults)
    until(lambda: counters.waiting == 0)
    counting.stop()
    assert "stored and remembered, but not counted" in caplog.text


def test_an_erased_users_events_that_wait_do_not_bring_their_items_back() -> None:
    counters = Counters()
    counters.observe_all([1, 2], [5, 6], [1, 1], [1e9, 1e9])
    counters.forget(1)
    counters.settle()
    assert counters.visits.last(1).tolist() == []
    assert counters.visits.last(2).tolist() == [6]


def test_what_says_nothing_good_is_not_counted() -> None:
    counters = Counters()
    for name in ("impression", "cart_remove", "search"):
        counters.observe(0, 0, EVENT_CODES[name], 0.0)
    counters.settle()
    assert counters.n_events == 0
    counters.observe(0, 0, CLICK, 0.0)
    counters.settle()
    assert counters.n_events == 1


def test_what_goes_with_the_latest_items_is_what_was_bought_with_them() -> None:
    counters = Counters()
    for visit in range(20):
        for item in (1, 2) if visit % 2 else (3, 4):
            counters.observe(visit, item, PURCHASE, visit * DAY)
    together, after = counters.covisits(ints(1), ints(2, 4, 3, 300), n_items=301)
    assert together.tolist() == pytest.approx([1.0, 0.0, 0.0, 0.0])
    assert after.tolist() == [0.0, 0.0, 0.0, 0.0]  # nobody came twice
    again, _ = counters.covisits(ints(1, 3), ints(2, 4), n_items=301)
    assert again.tolist() == pytest.approx([0.5, 0.5])  # the scratch is clean after every reading


def test_a_trend_is_an_item_s_and_not_the_whole_shop_s() -> None:
    counters = Counters()
    for day in range(200):
        counters.observe(day, 0, PURCHASE, day * DAY)
        counters.observe(day, 1 if day < 190 else 2, PURCHASE, day * DAY)
    counts, trend, _ = counters.popular(ints(0, 1, 2), 200 * DAY)
    assert counts.shape == (3, len(HALF_LIVES_DAYS))
    assert trend[2] > 0.5 > abs(trend[0])
    assert trend[1] < -0.5


def test_a_full_row_keeps_its_heavy_neighbours_and_lets_newcomers_in() -> None:
    pairs = Neighbours(half_life_days=1000.0, width=4)
    for _ in range(50):
        for other in (1, 2, 3):
            pairs.add(ints(0), ints(other), np.zeros(1))
    for other in range(4, 40):
        pairs.add(ints(0), ints(other), np.zeros(1))
    assert {1, 2, 3} <= set(pairs.of(0))
    assert len(pairs.of(0)) == 4
    for _ in range(60):
        pairs.add(ints(0), ints(99), np.zeros(1))
    assert 99 in pairs.of(0)
    assert set(pairs.of(0)) >= {1, 2, 3}


def test_memory_is_bounded_by_items_and_users_not_by_events() -> None:
    counters = Counters()
    rng = np.random.default_rng(0)
    sizes = []
    for part in range(3):
        n = 20_000
        items, users = rng.integers(0, 500, n).astype(np.int32), rng.integers(0, 100, n).astype(np.int32)
        counters.observe_log(users, items, np.full(n, CLICK, np.uint8), np.full(n, part * DAY))
        sizes.append(counters.n_bytes)
    assert sizes[1] == sizes[2]
    assert sizes[2] <= 500 * 2 * (2 * 32 * 8 + 4 + 8 * 8)


@pytest.mark.parametrize("distinct", [2, 7, 10_000])
def test_a_full_row_keeps_the_heaviest_and_of_equal_ones_the_first(distinct: int) -> None:
    random = np.random.default_rng(distinct)
    lengths = np.array([3, 9, 8, 16, 17, 300, 0, 33, 1000, 12, 64])
    indptr = np.concatenate([[0], np.cumsum(lengths)]).astype(np.int32)
    weights = random.integers(0, distinct, indptr[-1]).astype(np.float32)
    full = np.flatnonzero(lengths > 8)
    kept = _heaviest(indptr, weights, full, 8)
    expected = [
        np.sort(indptr[r] + np.argsort(-weights[indptr[r] : indptr[r + 1]], kind="stable")[:8]) for r in full
    ]
    assert kept.tolist() == np.concatenate(expected).tolist()
    assert len(_heaviest(indptr, weights, full[:0], 8)) == 0


def test_a_first_batch_keeps_the_heaviest_neighbours_best_first() -> None:
    table, random = Neighbours(28.0, width=4), np.random.default_rng(0)
    ones, others = random.integers(0, 6, 500).astype(np.int32), random.integers(0, 50, 500).astype(np.int32)
    moments = random.integers(0, 3, 500) * DAY
    table.add(ones, others, moments)
    sums = np.zeros((6, 50), np.float32)
    np.add.at(sums, (ones, others), np.exp2((moments - moments[0]) / DAY / 28.0))
    for one in range(6):
        found = table.of(one)
        assert list(found.values()) == pytest.approx(
            (np.sort(sums[one])[::-1][:4] / sums[one].sum()).tolist(), rel=1e-4
        )
        assert sums[one][list(found)] == pytest.approx(np.sort(sums[one])[::-1][:4], rel=1e-4)
