"""A judgement keeps every user's value, and what it sums up is right."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
import polars as pl
import pytest

from intently.data import Dataset, Histories
from intently.data.histories import DAY_S
from intently.errors import InputError
from intently.evaluate import judge, leave_one_out, temporal
from intently.models.popular import Popular
from intently.models.ranking import Ranked


@dataclass
class Fixed:
    """Answers the same list to everybody and remembers how it was asked."""

    answer: list[int]
    name: str = "fixed"
    asked: bool | None = None

    def top_k(self, histories: Histories, k: int = 10, *, repeats: bool | None = None) -> Ranked:
        self.asked = repeats
        row = (self.answer + [-1] * k)[:k]
        items = np.tile(np.array(row, np.int32), (len(histories), 1))
        return Ranked(items, np.zeros(items.shape, np.float32))


def shop(n_users: int = 30) -> Dataset:
    """User u bought a and b; half of them then buy c, the others the unheard-of d."""
    rows = []
    for u in range(n_users):
        rows += [(f"u{u:03}", "a", 1.0), (f"u{u:03}", "b", 2.0), (f"u{u:03}", "cd"[u % 2], 20.0)]
    rows.append(("x", "c", 3.0))
    columns = {"user_id": 0, "item_id": 1, "timestamp": 2}
    frame = pl.DataFrame({name: [r[i] for r in rows] for name, i in columns.items()})
    return Dataset.from_frames(frame.with_columns(pl.col("timestamp") * DAY_S))


A, B, C, D = range(4)


def test_means_groups_and_item_groups_worked_by_hand() -> None:
    case = temporal(shop(), 10 * DAY_S)
    got = judge(Fixed([A, C]), case, ks=(1, 2))
    assert got.mean("recall@1") == 0.0
    assert got.mean("recall@2") == got.means["recall@2"] == 0.5
    assert got.mean("mrr@2") == 0.25
    assert got.mean("hit@2", "warm") == 0.5
    assert np.isnan(got.mean("hit@2", "hot"))
    assert got.coverage == {1: 0.25, 2: 0.5}
    by_item = got.by_item_group(2, draws=50)
    assert (by_item["warm"].value, by_item["warm"].n) == (1.0, 15)  # c was bought once
    assert (by_item["cold"].value, by_item["cold"].n) == (0.0, 15)  # nobody had bought d
    assert np.isnan(by_item["hot"].value)


def test_the_interval_lies_around_the_mean_and_the_frame_has_it() -> None:
    got = judge(Fixed([C]), temporal(shop(), 10 * DAY_S), ks=(1,), name="mine")
    interval = got.interval("hit@1")
    assert interval.value == 0.5
    assert 0.2 < interval.low < 0.5 < interval.high < 0.8
    row = got.frame().filter(pl.col("metric") == "hit@1", pl.col("group") == "all")
    assert row.select("model", "mean", "low", "high", "users").row(0) == (
        "mine", 0.5, interval.low, interval.high, 30,
    )  # fmt: skip
    assert set(got.frame()["group"]) == {"all", "warm"}


def test_two_models_are_compared_on_the_same_users() -> None:
    case = temporal(shop(), 10 * DAY_S)
    both, one, none = (judge(Fixed(a), case, ks=(2,)) for a in ([C, D], [C], [A]))
    more, lift = both.against(one, "recall@2")
    assert more.value == 0.5
    assert more.excludes(0.0)
    assert lift.value == 1.0
    assert np.isnan(both.against(none, "recall@2")[1].value)
    other = judge(Fixed([C]), leave_one_out(shop(4)), ks=(2,))
    with pytest.raises(InputError, match="judged on different users"):
        both.against(other, "recall@2")


def test_met_items_are_masked_only_where_the_protocol_says_so() -> None:
    model = Fixed([A])
    judge(model, temporal(shop(), 10 * DAY_S))
    assert model.asked is None
    judge(model, leave_one_out(shop()))
    assert model.asked is False
    judge(model, leave_one_out(shop(), repeats=True))
    assert model.asked is True


def test_a_real_model_finds_what_everybody_buys() -> None:
    case = leave_one_out(shop(2000))
    got = judge(Popular().fit(case.train), case, ks=(1, 2))
    assert got.name == "popular"
    assert len(got.items) == 2000  # more than are asked at once
    assert got.mean("recall@1") == 0.5  # c or d, whichever is on top, is half of the truth
    assert got.mean("recall@2") == 1.0


def test_what_was_not_judged_is_refused() -> None:
    case = temporal(shop(), 10 * DAY_S)
    with pytest.raises(InputError, match="ks must hold numbers of 1 or more"):
        judge(Fixed([A]), case, ks=(0,))
    with pytest.raises(InputError, match="ks must hold numbers of 1 or more"):
        judge(Fixed([A]), case, ks=())
    got = judge(Fixed([A]), case, ks=(2,))
    with pytest.raises(InputError, match="no metric 'ndcg@9'; judged: ndcg@2"):
        got.mean("ndcg@9")
    with pytest.raises(InputError, match="unknown group 'rich'; allowed: all, hot"):
        got.mean("ndcg@2", "rich")
