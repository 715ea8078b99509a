"""The sequence model finds the next item, from order alone, and answers without torch."""

from __future__ import annotations

import json
import subprocess
import sys
from dataclasses import replace
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
import pytest
from safetensors.numpy import load_file, save_file

from intently.data import Dataset, Histories
from intently.errors import InputError
from intently.models.principal import principal
from intently.models.sequence import Sequence
from intently.schema import EVENT_CODES
from tiny_shops import chain, checkerboard, weekly_basket

TINY = {"d": 16, "blocks": 1, "batch_tokens": 256, "epochs": 40, "learning_rate": 0.02}


@cache
def walker() -> Sequence:
    return Sequence(**TINY).fit(chain())


def successor_share(model: Sequence, shop: Dataset) -> float:
    """How often the first answer is the item that always follows the last one."""
    histories = shop.histories()
    answer = model.top_k(histories, 1).items[:, 0]
    last = histories.items[histories.indptr[1:] - 1]
    return float(np.mean(answer == (last + 1) % shop.n_items))


def test_finds_the_item_that_always_follows() -> None:
    assert successor_share(walker(), chain()) == 1.0


def test_a_sampled_softmax_finds_it_too() -> None:
    assert (
        successor_share(Sequence(**TINY | {"candidates": 6, "batch_tokens": 4}).fit(chain()), chain()) == 1.0
    )


def test_windows_shorter_than_the_sequences_suffice() -> None:
    shop = chain(n_users=20, length=25)
    assert successor_share(Sequence(**TINY | {"max_length": 3}).fit(shop), shop) == 1.0


def test_only_the_latest_moments_count() -> None:
    model = Sequence(**TINY | {"max_length": 2, "epochs": 2}).fit(chain())
    long, short = Histories.of([[5, 9, 1, 2]]), Histories.of([[1, 2]])
    np.testing.assert_allclose(model.scores(long), model.scores(short), rtol=1e-5)


def test_the_order_inside_a_basket_means_nothing_and_the_order_of_baskets_does() -> None:
    model = Sequence(**TINY | {"epochs": 5}).fit(weekly_basket())
    week = np.array([0.0, 0.0, 1.0, 1.0])
    given = replace(Histories.of([[0, 8, 1, 9]]), time_s=week)
    inside = replace(given, items=np.array([8, 0, 9, 1], np.int32))
    across = replace(given, items=np.array([1, 9, 0, 8], np.int32))
    np.testing.assert_allclose(model.scores(inside), model.scores(given), rtol=1e-4, atol=1e-5)
    assert np.abs(model.scores(across) - model.scores(given)).max() > 1e-3


def test_finds_the_staples_of_a_grocery() -> None:
    model = Sequence(**TINY).fit(weekly_basket())
    answer = model.top_k(weekly_basket().histories(), 2).items
    staples = [{user % 8, 8 + user % 8} for user in range(30)]
    right = [len(set(row) & staples[user]) for user, row in enumerate(answer.tolist())]
    assert np.mean(right) > 1.8


def test_items_nobody_met_score_below_all_others_and_change_nothing() -> None:
    model = Sequence(**TINY | {"epochs": 2}).fit(checkerboard())
    scores = model.scores(Histories.of([[0, 2], []]))
    assert (scores[:, 18:].max(axis=1) < scores[:, :18].min(axis=1)).all()
    np.testing.assert_allclose(model.scores(Histories.of([[0, 19, 2]])), scores[:1], rtol=1e-5)
    np.testing.assert_array_equal(model.scores(Histories.of([[19]])), scores[1:])


def test_text_is_used_only_when_asked_for() -> None:
    asked = checkerboard().histories()
    few = TINY | {"epochs": 3}
    without = Sequence(**few, text=False).fit(checkerboard()).scores(asked)
    np.testing.assert_array_equal(Sequence(**few).fit(checkerboard(vectors=False)).scores(asked), without)
    assert not np.array_equal(Sequence(**few).fit(checkerboard()).scores(asked), without)


def test_principal_components_have_unit_variance_and_drop_what_is_constant() -> None:
    rng = np.random.default_rng(0)
    vectors = rng.normal(size=(50, 2)) @ rng.normal(size=(2, 6)) + 3.0
    made = principal(vectors.astype(np.float32), 4)
    assert made.shape == (50, 2)
    np.testing.assert_allclose(made.T @ made / 50, np.eye(2), atol=1e-3)


def test_a_shop_where_nobody_comes_back_is_answered_with_what_is_popular() -> None:
    days = pl.Series([f"2024-01-{day:02d}" for day in (1, 2, 3)])
    events = pl.DataFrame({"user_id": ["a", "b", "c"], "item_id": ["x", "y", "y"], "timestamp": days})
    model = Sequence(**TINY).fit(Dataset.from_frames(events))
    assert model.top_k(Histories.of([[], [0]]), 1).items.tolist() == [[1], [1]]


def test_a_shop_with_impressions_only_is_refused() -> None:
    shown = {"user_id": ["a", "b"], "item_id": ["x", "y"], "event": ["impression"] * 2, "timestamp": [1, 2]}
    with pytest.raises(InputError, match="no positive events"):
        Sequence(**TINY).fit(Dataset.from_frames(pl.DataFrame(shown)))


def test_the_learning_curve_is_kept_and_falls() -> None:
    curve = walker().curve
    assert curve.shape == (40, 2)
    assert curve[-1, 0] < 0.5 * curve[0, 0]
    assert np.isnan(curve[:, 1]).all()  # 80 users: too few to hold some back


def test_a_larger_shop_stops_by_held_back_users() -> None:
    shop = chain(n_users=600)
    model = Sequence(**TINY | {"epochs": 30}).fit(shop)
    assert len(model.curve) < 30
    assert model.curve[:, 1].max() > 0.95


def forks(by_gap: bool) -> Dataset:
    """After items 0 and 1 comes 2 or 3: 2 where they lay a minute apart (or where 0 was viewed), else 3."""
    rng = np.random.default_rng(0)
    rows = []
    for user in range(80):
        way = user % 2
        gap_s = (60.0, 600_000.0)[way if by_gap else int(rng.integers(2))]
        kind = "purchase" if by_gap else ("view", "purchase")[way]
        start_s = 1.7e9 + user
        rows += [(f"u{user}", "i0", kind, start_s), (f"u{user}", "i1", "purchase", start_s + gap_s)]
        rows.append((f"u{user}", f"i{2 + way}", "purchase", start_s + gap_s + 3600.0 * rng.integers(1, 90)))
    schema = ["user_id", "item_id", "event", "timestamp"]
    return Dataset.from_frames(pl.DataFrame(rows, schema, orient="row"))


def forked(gap_s: float, kind: str) -> Histories:
    """Items 0 and 1, so far apart, the first by this kind of event."""
    given, kinds = Histories.of([[0, 1]]), [EVENT_CODES[kind], EVENT_CODES["purchase"]]
    return replace(given, time_s=np.array([0.0, gap_s]), events=np.array(kinds, np.uint8))


def test_the_time_between_moments_tells_where_that_is_switched_on() -> None:
    short, long = forked(60.0, "purchase"), forked(600_000.0, "purchase")
    model = Sequence(**TINY | {"batch_tokens": 16, "epochs": 25}, gaps=True).fit(forks(by_gap=True))
    assert [model.top_k(asked, 1, repeats=False).lists() for asked in (short, long)] == [[[2]], [[3]]]
    without = Sequence(**TINY | {"epochs": 2}).fit(forks(by_gap=True))
    np.testing.assert_array_equal(without.scores(short), without.scores(long))


def test_the_kind_of_event_tells_and_can_be_switched_off() -> None:
    viewed, bought = forked(60.0, "view"), forked(60.0, "purchase")
    model = Sequence(**TINY | {"batch_tokens": 16, "epochs": 25}).fit(forks(by_gap=False))
    assert [model.top_k(asked, 1, repeats=False).lists() for asked in (viewed, bought)] == [[[2]], [[3]]]
    without = Sequence(**TINY | {"epochs": 2}, kinds=False).fit(forks(by_gap=False))
    np.testing.assert_array_equal(without.scores(viewed), without.scores(bought))


def test_without_a_clock_and_with_one_kind_of_event_neither_is_learned() -> None:
    made = Sequence(**TINY | {"epochs": 1}, gaps=True).fit(chain())
    assert not [name for name in made.weights if "gap" in name]
    assert len(made.kind_vectors) == 0


def test_a_model_saved_before_gaps_and_kinds_still_answers(tmp_path: Path) -> None:
    walker().save(tmp_path)
    facts = json.loads((tmp_path / "model.json").read_text())
    for setting in ("gaps", "kinds"):
        del facts["settings"][setting]
    (tmp_path / "model.json").write_text(json.dumps(facts))
    arrays = load_file(tmp_path / "arrays.safetensors")
    del arrays["kind_vectors"]
    save_file(arrays, tmp_path / "arrays.safetensors")
    asked = Histories.of([[3, 4]])
    np.testing.assert_array_equal(Sequence.load(tmp_path).scores(asked), walker().scores(asked))


def test_answers_without_torch(tmp_path: Path) -> None:
    walker().save(tmp_path)
    code = (
        "import sys; from pathlib import Path\n"
        "from intently.data import Histories; from intently.models.sequence import Sequence\n"
        f"model = Sequence.load(Path({str(tmp_path)!r}))\n"
        "assert model.top_k(Histories.of([[3, 4]]), 1).items[0, 0] == 5\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize(
    "setting", ["d", "blocks", "heads", "max_length", "batch_tokens", "epochs", "candidates"]
)
def test_counts_below_one_are_refused(setting: str) -> None:
    with pytest.raises(InputError, match=f"{setting} must be at least 1, got 0"):
        Sequence(**{setting: 0})


def test_other_settings_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="multiple of heads, got d 10 and heads 4"):
        Sequence(d=10, heads=4)
    with pytest.raises(InputError, match=r"dropout must be in \[0, 1\), got 1.0"):
        Sequence(dropout=1.0)
    with pytest.raises(InputError, match="learning_rate must be above 0, got 0"):
        Sequence(learning_rate=0)
    with pytest.raises(InputError, match="minutes must not be negative, got -1"):
        Sequence(minutes=-1)
