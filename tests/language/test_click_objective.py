"""Click: pairs of behaviour and candidate as of a moment."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from tiny_models import make_layout_folder

from intently.data import Dataset
from intently.errors import InputError
from intently.language.behaviour import BehaviourWriter
from intently.language.classification import Guard
from intently.language.classifier import TextClassifier
from intently.language.click import ClickSettings, from_shop, pairs, shop_parts
from tiny_shops import checkerboard, weekly_basket

WEEK = ClickSettings(horizon_days=14, max_pairs=400)
DAY_S = 86400.0


def test_positives_were_bought_in_the_window_and_negatives_were_not() -> None:
    shop = weekly_basket()
    cut_s = shop.end_s - 14 * DAY_S
    found = pairs(shop, cut_s, WEEK, most=200)
    events = shop.since(cut_s).events
    bought = set(zip(events["user"].to_list(), events["item"].to_list(), strict=True))
    for user, item, yes in zip(found.users, found.items, found.labels, strict=True):
        assert ((int(user), int(item)) in bought) == bool(yes)
    assert 0.2 <= found.labels.mean() <= 0.5
    met = {(u, i) for u, i in shop.as_of(cut_s).events.select("user", "item").iter_rows()}
    kinds = [
        (int(u), int(i)) in met
        for u, i, y in zip(found.users, found.items, found.labels, strict=True)
        if not y
    ]
    assert 0 < np.mean(kinds) < 1  # some were seen before, others not


def test_a_pair_says_nothing_of_what_came_after_its_moment() -> None:
    shop = weekly_basket()
    cut_s = shop.end_s - 14 * DAY_S
    whole = shop_parts(shop, WEEK)
    item = shop.events["item"].to_numpy()
    future = shop.events["time_s"].to_numpy() >= cut_s
    other = np.where(future, (item + 5) % shop.n_items, item).astype(np.int32)
    another = replace(shop, events=shop.events.with_columns(item=pl.Series(other)))
    twisted = shop_parts(another, WEEK)
    for part in ("train", "validation"):
        mine, theirs = getattr(whole, part), getattr(twisted, part)
        assert mine.texts == theirs.texts
        assert mine.others == theirs.others
        assert (mine.labels == theirs.labels).all()
    assert whole.test.others != twisted.test.others
    found = pairs(shop, cut_s, WEEK, most=200)
    texts = [BehaviourWriter(one).write(found.users, cut_s, found.items) for one in (shop, another)]
    assert texts[0] == texts[1]


def test_click_is_tuned_saved_and_answers_pairs(tmp_path: Path) -> None:
    folder = make_layout_folder(tmp_path / "base", "bert")
    task = from_shop(weekly_basket(), WEEK, folder)
    model = task.load(folder)
    found = task.evaluate(model)
    assert {"precision", "recall", "f1", "auc", "accuracy", "threshold"} <= set(found)
    assert task.metric == "auc"
    values = task.measure(model)
    assert values["all"].mean() == pytest.approx(task.test_figures(model)["auc"])
    task.save(model, tmp_path / "tuned")
    classifier = TextClassifier(tmp_path / "tuned")
    assert classifier.names == ("no", "yes")
    assert classifier.answering.objective == "click"
    assert classifier.answering.threshold == pytest.approx(task.answering(model).threshold)
    asked = task.parts.test.take([0, 1])
    assert classifier.probabilities(asked.texts, asked.others) == pytest.approx(
        task.tested(model)[0][:2], abs=1e-5
    )
    with pytest.raises(InputError, match="as many second texts"):
        classifier.probabilities(["a"], ["b", "c"])


def test_behaviour_is_changed_anew_every_epoch_where_that_is_asked_for(tmp_path: Path) -> None:
    folder = make_layout_folder(tmp_path / "base", "bert")

    def lengths(guard: Guard) -> int:
        task = from_shop(weekly_basket(), WEEK, folder, guard=guard)
        return sum(len(one) for batch in task.batches(1) for one in batch.tokens)

    whole = lengths(Guard())
    assert lengths(Guard(event_dropout=0.5)) < whole
    assert lengths(Guard(event_crop=0.5)) < whole


def test_what_click_cannot_do_is_said() -> None:
    shop = checkerboard()
    with pytest.raises(InputError, match="click needs four horizons of 28 days"):
        shop_parts(shop, ClickSettings())
    with pytest.raises(InputError, match="unknown event 'buy'"):
        ClickSettings(event="buy")
    with pytest.raises(InputError, match="horizon_days must be over 0"):
        ClickSettings(horizon_days=0)
    with pytest.raises(InputError, match="negatives must be 1 or more"):
        ClickSettings(negatives=0)
    ordered = Dataset.from_sequences([["a", "b"], ["b", "c"]])
    with pytest.raises(InputError, match="only their order"):
        shop_parts(ordered, ClickSettings())
