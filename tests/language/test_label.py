"""Texts with labels: parted, learned, calibrated, saved, and read again by us and by transformers."""

from __future__ import annotations

import gzip
from pathlib import Path

import numpy as np
import pytest
import torch
from tiny_models import LAYOUTS, make_layout_folder

from intently.errors import InputError
from intently.language import label
from intently.language.classification import Classification, Guard
from intently.language.classifier import TextClassifier, load_classifier
from intently.language.methods import Method, attach, merged
from intently.nn.finetuning import Schedule, finetune

DRINKS = ["green tea", "black tea bag", "coffee bean", "red wine", "milk", "black coffee"]
GARDEN = ["garden hose", "green garden", "red garden hose", "hose", "black hose garden", "garden bread"]
TEXTS = [f"{a} {b}" for a in DRINKS for b in DRINKS] + [f"{a} {b}" for a in GARDEN for b in GARDEN]
LABELS = ["drink"] * 36 + ["garden"] * 36


def tune(task: Classification, folder: Path, method: str = "full", epochs: int = 3) -> torch.nn.Module:
    model = attach(task.load(folder), Method(method), fresh=task.fresh, steps=100)
    finetune(
        model,
        task.batches,
        lambda batch: task.loss(model, batch),
        Schedule(epochs=epochs, learning_rate=2e-3),
        evaluate=lambda: task.evaluate(model),
        metric=task.metric,
    )
    return merged(model)


@pytest.mark.parametrize("layout", LAYOUTS)
def test_a_classifier_learns_and_its_folder_gives_the_same_logits_in_transformers(
    layout: str, tmp_path: Path
) -> None:
    from transformers import AutoModelForSequenceClassification, AutoTokenizer

    folder = make_layout_folder(tmp_path / "base", layout)
    task = label.from_texts(TEXTS, LABELS, folder, batch_size=8)
    model = tune(task, folder)
    assert task.measure(model)["all"].mean() > 0.8
    task.save(model, tmp_path / "tuned")
    ours = TextClassifier(tmp_path / "tuned")
    assert ours.names == ("drink", "garden")
    theirs = AutoModelForSequenceClassification.from_pretrained(tmp_path / "tuned").eval()
    assert theirs.config.id2label == {0: "drink", 1: "garden"}
    tokenizer = AutoTokenizer.from_pretrained(tmp_path / "tuned")
    given = tokenizer("green tea", return_tensors="pt")
    with torch.no_grad():
        logits = theirs(**{key: given[key] for key in ("input_ids", "attention_mask")}).logits[0]
    chances = torch.softmax(logits / ours.answering.temperature, 0)
    assert ours.probabilities(["green tea"])[0] == pytest.approx(chances.numpy(), abs=1e-5)


def test_a_new_head_begins_with_what_the_frozen_encoder_tells_apart(tmp_path: Path) -> None:
    folder = make_layout_folder(tmp_path / "base", "bert")
    with_head = label.from_texts(TEXTS, LABELS, folder)
    model = with_head.load(folder)
    assert with_head.evaluate(model)["accuracy"] > 0.7
    again, fresh = load_classifier(folder, ("drink", "garden"))
    assert fresh
    for name, value in again.bert.encoder.state_dict().items():
        assert torch.equal(value, model.bert.encoder.state_dict()[name]), name


def test_a_tuned_head_is_gone_on_with_and_one_for_other_classes_begins_anew(tmp_path: Path) -> None:
    folder = make_layout_folder(tmp_path / "base", "bert")
    task = label.from_texts(TEXTS, LABELS, folder, batch_size=8)
    model = tune(task, folder, epochs=1)
    task.save(model, tmp_path / "tuned")
    again = task.load(tmp_path / "tuned")
    assert torch.equal(again.classifier.weight, model.classifier.weight)
    other, fresh = load_classifier(tmp_path / "tuned", ("a", "b", "c"))
    assert fresh
    assert other.config.num_labels == 3


def test_long_empty_mixed_and_broken_texts_are_read(tmp_path: Path) -> None:
    folder = make_layout_folder(tmp_path / "base", "bert")
    strange = ["tea " * 2500, "🍵🍵", "绿茶 green tea чай", "\ud800 tea", "\x00"]
    task = label.from_texts(TEXTS + strange, LABELS + ["drink"] * 5, folder)
    task.save(tune(task, folder, epochs=1), tmp_path / "tuned")
    classifier = TextClassifier(tmp_path / "tuned")
    chances = classifier.probabilities([*strange, "", "  ", "green tea"])
    assert chances.shape == (8, 2)
    assert np.isfinite(chances).all()
    assert chances.sum(axis=1) == pytest.approx(np.ones(8))
    assert chances[5] == pytest.approx(classifier.answering.shares)
    assert classifier.probabilities([]).shape == (0, 2)
    assert set(classifier.predict(["tea", ""])) <= {"drink", "garden"}
    with pytest.raises(InputError, match="give a list of texts"):
        classifier.probabilities("green tea")


def test_a_text_has_the_same_chances_alone_and_in_a_crowd(tmp_path: Path) -> None:
    folder = make_layout_folder(tmp_path / "base", "gpt2")
    task = label.from_texts(TEXTS, LABELS, folder)
    task.save(task.load(folder), tmp_path / "tuned")
    classifier = TextClassifier(tmp_path / "tuned")
    together = classifier.probabilities(TEXTS)
    assert classifier.probabilities(TEXTS[7:8])[0] == pytest.approx(together[7], abs=1e-5)


def test_parts_do_not_overlap_and_hold_every_class() -> None:
    texts = [f"text {row % 80}" for row in range(200)] + ["TEXT  1", "rare"]
    labels = ["ab"[row % 2] for row in range(200)] + ["b", "once"]
    parts = label.parted_texts(texts, labels)
    keys = [set(part.keys()) for part in (parts.train, parts.validation, parts.test)]
    assert not keys[0] & keys[1]
    assert not keys[0] & keys[2]
    assert not keys[1] & keys[2]
    assert parts.names == ("a", "b")
    assert len(parts.test) == 40
    for part in (parts.train, parts.validation, parts.test):
        assert set(part.labels.tolist()) == {0, 1}
    again = label.parted_texts(texts, labels)
    assert again.test.texts == parts.test.texts


def test_files_are_read_by_column(tmp_path: Path) -> None:
    rows = "".join(f"{text},{name}\n" for text, name in zip(TEXTS, LABELS, strict=True))
    with gzip.open(tmp_path / "some.csv.gz", "wt") as file:
        file.write("words,kind\n" + rows)
    folder = make_layout_folder(tmp_path / "base", "bert")
    task = label.from_file(tmp_path / "some.csv.gz", "words", "kind", folder)
    assert task.parts.names == ("drink", "garden")
    with pytest.raises(InputError, match="has no column 'text'; it has words, kind"):
        label.from_file(tmp_path / "some.csv.gz", "text", "kind", folder)
    with pytest.raises(InputError, match=r"none\.csv is missing"):
        label.from_file(tmp_path / "none.csv", "text", "kind", folder)
    with pytest.raises(InputError, match="is no table"):
        label.from_file(tmp_path / "base", "text", "kind", folder)


def test_what_cannot_be_learned_from_is_said() -> None:
    with pytest.raises(InputError, match=r"a single class \(a\): nothing to tell apart"):
        label.parted_texts(["x", "y"], ["a", "a"])
    with pytest.raises(InputError, match="two classes of at least three texts"):
        label.parted_texts(["x", "y"], ["a", "b"])
    with pytest.raises(InputError, match="no row has both a text and a label"):
        label.parted_texts(["", None, "x"], ["a", "b", None])
    with pytest.raises(InputError, match="2 texts and 1 labels"):
        label.parted_texts(["x", "y"], ["a"])
    with pytest.raises(InputError, match="smoothing must be at least 0 and below 1"):
        Guard(smoothing=1.0)


def test_a_folder_without_a_head_is_no_classifier(tmp_path: Path) -> None:
    folder = make_layout_folder(tmp_path / "base", "bert")
    with pytest.raises(InputError, match="has no classifier's head"):
        TextClassifier(folder)


def test_every_guard_changes_the_training_and_none_of_them_the_answers(tmp_path: Path) -> None:
    folder = make_layout_folder(tmp_path / "base", "bert")
    labels = ["drink"] * 36 + ["garden"] * 12
    texts = TEXTS[:48]
    plain = label.from_texts(texts, labels, folder)

    def loss(guard: Guard) -> float:
        task = label.from_texts(texts, labels, folder, guard=guard)
        model = plain.load(folder) if guard.dropout < 0 else task.load(folder)
        torch.manual_seed(0)
        model.train(guard.dropout >= 0)
        return float(task.loss(model, task.batches(0)[0]).detach())

    base = loss(Guard())
    guards = [Guard(dropout=0.5), Guard(smoothing=0.2), Guard(class_weights=True), Guard(token_mask=0.5)]
    for guard in guards:
        assert abs(loss(guard) - base) > 1e-4, guard


def test_batches_are_the_same_for_a_seed_and_epoch_and_new_every_epoch(tmp_path: Path) -> None:
    folder = make_layout_folder(tmp_path / "base", "bert")
    task = label.from_texts(TEXTS, LABELS, folder, batch_size=8, guard=Guard(token_mask=0.3))

    def ids(epoch: int) -> list[list[int]]:
        return [one.ids.tolist() for batch in task.batches(epoch) for one in batch.tokens]

    assert ids(0) == ids(0)
    assert ids(0) != ids(1)
    assert sum(len(batch.labels) for batch in task.batches(0)) == len(task.parts.train)
