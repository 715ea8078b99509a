"""The graph model finds neighbours of neighbours, and its paper's baseline is one of its settings."""

from __future__ import annotations

import subprocess
import sys
from functools import cache
from pathlib import Path

import numpy as np
import pytest
from scipy import sparse

from intently.data import Dataset, Histories
from intently.errors import InputError
from intently.models.graph import LOSSES, Graph, smoothing
from intently.models.next_moments import Moments
from tiny_shops import chain, checkerboard

TINY = {"d": 16, "epochs": 15, "learning_rate": 0.02}


@cache
def fitted() -> Graph:
    return Graph(**TINY, batch=128).fit(chain(n_users=600))


def bridge() -> Dataset:
    """Some go from a to b, others from b to c, nobody from a to c; x and y are another world."""
    walks = [["a", "b"]] * 20 + [["b", "c"]] * 20 + [["x", "y"]] * 20
    return Dataset.from_sequences(walks)


def test_an_item_two_steps_away_comes_before_one_that_cannot_be_reached() -> None:
    shop = bridge()
    a, c, x, y = shop.items.indices(["a", "c", "x", "y"]).tolist()
    scores = Graph(**TINY | {"layers": 2}).fit(shop).scores(Histories.of([[a]]))[0]
    assert scores[c] > max(scores[x], scores[y])


def test_finds_what_follows_and_its_figure_rises() -> None:
    histories = chain(n_users=600).histories()
    last = histories.items[histories.indptr[1:] - 1]
    answer = fitted().top_k(histories, 3).items
    assert np.mean([(follows in row) for follows, row in zip((last + 1) % 12, answer, strict=True)]) > 0.9
    assert fitted().curve[:, 1].max() > fitted().curve[0, 1]


@pytest.mark.parametrize("loss", LOSSES)
@pytest.mark.parametrize("layers", [0, 1])
def test_every_loss_separates_the_two_sides(loss: str, layers: int) -> None:
    model = Graph(**TINY | {"loss": loss, "layers": layers, "batch": 32}).fit(checkerboard())
    answer = model.top_k(Histories.of([[0, 6, 10], [1, 7, 11]]), 4, repeats=False).items
    assert (answer % 2 == [[0], [1]]).all()


def test_without_layers_there_is_no_graph_at_all() -> None:
    model = Graph(**TINY | {"layers": 0, "loss": "bpr"}).fit(checkerboard())
    assert model.near.nnz == 0
    assert model.near_weight[0] == 0
    assert model.scale[0] == 1


def test_a_sampled_softmax_separates_them_too() -> None:
    model = Graph(**TINY | {"candidates": 6, "batch": 8}).fit(checkerboard())
    answer = model.top_k(Histories.of([[0, 6], [1, 7]]), 4, repeats=False).items
    assert (answer % 2 == [[0], [1]]).all()


def test_the_direct_part_is_weighed_on_held_back_users_unless_told() -> None:
    assert Graph(**TINY | {"nearby": 3.5}).fit(checkerboard()).near_weight[0] == 3.5
    assert fitted().near_weight[0] in (0.0, 10.0, 30.0, 100.0, 300.0)


def test_held_back_moments_are_not_in_what_is_learned_from() -> None:
    histories = chain(n_users=600).histories()
    moments = Moments(histories, timed=False, seed=0)
    assert len(moments.held) == 60
    rest = moments.without_held(histories)
    assert len(rest.items) == len(histories.items) - 60
    held_users = histories.rows[moments.held]
    assert (rest.lengths[held_users] == histories.lengths[held_users] - 1).all()
    assert not set(moments.held) & set(moments.taught)


def test_smoothing_is_a_mean_of_powers_whose_rows_add_to_one() -> None:
    line = sparse.csr_matrix(np.array([[0, 1, 0], [1, 0, 1], [0, 1, 0]], np.float32))
    made = smoothing(line, 2, 5).toarray()
    step = np.array([[0, 1, 0], [0.5, 0, 0.5], [0, 1, 0]])
    np.testing.assert_allclose(made, (np.eye(3) + step + step @ step) / 3, rtol=1e-6)
    np.testing.assert_allclose(made.sum(1), 1, rtol=1e-6)


def test_items_nobody_met_score_below_all_others() -> None:
    scores = Graph(**TINY).fit(checkerboard()).scores(Histories.of([[0, 2], []]))
    assert (scores[:, 18:].max(axis=1) < scores[:, :18].min(axis=1)).all()


def test_answers_without_torch(tmp_path: Path) -> None:
    fitted().save(tmp_path)
    code = (
        "import sys; from pathlib import Path\n"
        "from intently.data import Histories; from intently.models.graph import Graph\n"
        f"model = Graph.load(Path({str(tmp_path)!r}))\n"
        "assert 5 in model.top_k(Histories.of([[3, 4]]), 3).items[0]\n"
        "assert 'torch' not in sys.modules"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("setting", ["d", "neighbours", "max_length", "batch", "epochs", "candidates"])
def test_counts_below_one_are_refused(setting: str) -> None:
    with pytest.raises(InputError, match=f"{setting} must be at least 1, got 0"):
        Graph(**{setting: 0})


def test_other_settings_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="layers must not be negative, got -1"):
        Graph(layers=-1)
    with pytest.raises(InputError, match="loss must be one of softmax, bpr, got 'hinge'"):
        Graph(loss="hinge")
    with pytest.raises(InputError, match="nearby must be 0 or more, or None, got -1"):
        Graph(nearby=-1)
    with pytest.raises(InputError, match=r"decay must be in \(0, 1\], got 0"):
        Graph(decay=0)
    with pytest.raises(InputError, match="learning_rate must be above 0, got 0"):
        Graph(learning_rate=0)
    with pytest.raises(InputError, match="minutes must not be negative, got -1"):
        Graph(minutes=-1)
