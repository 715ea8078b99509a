"""Buckets, augmentation and figures: small functions with known answers."""

from __future__ import annotations

import numpy as np
import pytest
from sklearn import metrics

from intently.errors import InputError
from intently.language.augment import crop_events, drop_events, mask_tokens
from intently.language.buckets import bucketed
from intently.language.figures import best_temperature, best_threshold, classified

BEHAVIOUR = (
    "bought green tea at 3.99, milk at 1; 2 days later viewed garden hose; bought soap; now 5 hours later"
)
CHINESE = "购买绿茶(价格3.99)；2天后浏览水管；现在5小时后"


def test_buckets_cover_everything_once_and_repeat_for_a_seed() -> None:
    lengths = np.random.default_rng(0).integers(1, 100, 1001)
    rounds = bucketed(lengths, 16, seed=3, epoch=0)
    assert sorted(np.concatenate(rounds).tolist()) == list(range(1001))
    assert max(len(rows) for rows in rounds) == 16
    again = bucketed(lengths, 16, seed=3, epoch=0)
    assert all((a == b).all() for a, b in zip(rounds, again, strict=True))
    assert any((a[:5] != b[:5]).any() for a, b in zip(rounds, bucketed(lengths, 16, 3, 1), strict=True))
    padded = sum(len(rows) * int(lengths[rows].max()) for rows in rounds)
    assert padded < 1.1 * lengths.sum()
    assert bucketed([], 4, 0, 0) == []
    with pytest.raises(InputError, match="batch_size must be 1 or more"):
        bucketed([1], 0, 0, 0)


@pytest.mark.parametrize("text", [BEHAVIOUR, CHINESE])
def test_event_dropout_and_crop_keep_whole_events_and_the_present(text: str) -> None:
    mark = "；" if text is CHINESE else "; "
    parts = text.split(mark)
    for seed in range(20):
        rng = np.random.default_rng(seed)
        for changed in (drop_events(text, 0.6, rng), crop_events(text, 0.9, rng)):
            left = changed.split(mark)
            assert left[-1] == parts[-1]
            assert 2 <= len(left) <= len(parts)
            assert all(part in parts for part in left)
    assert drop_events(text, 0.0, np.random.default_rng(0)) == text
    assert crop_events("bought tea", 0.9, np.random.default_rng(0)) == "bought tea"
    assert drop_events("", 0.9, np.random.default_rng(0)) == ""


def test_token_masking_leaves_special_tokens_and_its_input_alone() -> None:
    ids = np.array([2, *range(10, 1010), 3])
    masked = mask_tokens(ids, 0.2, 4, frozenset({2, 3}), np.random.default_rng(0))
    assert masked[0] == 2
    assert masked[-1] == 3
    assert (masked == 4).mean() == pytest.approx(0.2, abs=0.04)
    assert (ids[1:-1] == np.arange(10, 1010)).all()


def test_figures_are_those_of_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    labels = rng.integers(0, 2, 300).astype(np.int32)
    one = np.round(np.clip(0.3 * labels + rng.random(300) * 0.7, 0, 1), 2)
    found = classified(labels, np.stack([1 - one, one], axis=1), threshold=0.4)
    said = one >= 0.4
    assert found["auc"] == pytest.approx(metrics.roc_auc_score(labels, one))
    assert found["accuracy"] == pytest.approx(metrics.accuracy_score(labels, said))
    assert found["precision"] == pytest.approx(metrics.precision_score(labels, said))
    assert found["recall"] == pytest.approx(metrics.recall_score(labels, said))
    assert found["f1"] == pytest.approx(metrics.f1_score(labels, said))
    assert found["macro_f1"] == pytest.approx(metrics.f1_score(labels, said, average="macro"))
    best = best_threshold(labels, one)
    tried = [metrics.f1_score(labels, one >= at) for at in np.linspace(0, 1, 401)]
    assert metrics.f1_score(labels, one >= best) == pytest.approx(max(tried))
    assert best_threshold(np.ones(3, np.int32), np.array([0.1, 0.2, 0.3])) == 0.5


def test_temperature_undoes_over_confidence() -> None:
    rng = np.random.default_rng(0)
    logits = rng.normal(0, 1, (4000, 3))
    chances = np.exp(logits) / np.exp(logits).sum(axis=1, keepdims=True)
    labels = (rng.random(4000)[:, None] > chances.cumsum(axis=1)).sum(axis=1).astype(np.int32)
    assert best_temperature(labels, 5 * logits) == pytest.approx(5.0, rel=0.1)


def test_no_mistake_among_a_few_texts_is_not_certainty() -> None:
    logits = np.array([[1.0, 0.0], [0.0, 1.0], [1.0, 0.0]])
    temperature = best_temperature(np.array([0, 1, 0], np.int32), logits)
    assert 1 / (1 + np.exp(-1 / temperature)) == pytest.approx(4 / 5, abs=0.01)
