"""Four methods on five layouts: what learns, what is merged, what is saved."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from tiny_folder import make_folder
from tiny_models import LAYOUTS, make_model
from torch import Tensor, nn

from intently.errors import ArtifactError, InputError
from intently.language import TextEncoder, adapter
from intently.language.methods import METHODS, Method, after_step, attach, merged, save, trainable

HEADS = ("classifier", "pre_classifier", "score")
IDS = torch.randint(4, 40, (6, 7), generator=torch.Generator().manual_seed(1))
LABELS = torch.tensor([0, 1, 2, 0, 1, 2])


def logits(model: nn.Module) -> Tensor:
    with torch.no_grad():
        found: Tensor = model.eval()(input_ids=IDS).logits
    return found


def tune(model: nn.Module, steps: int = 12) -> None:
    torch.manual_seed(0)
    optimizer = torch.optim.AdamW([p for p in model.parameters() if p.requires_grad], lr=1e-2)
    model.train()
    for step in range(1, steps + 1):
        optimizer.zero_grad()
        nn.functional.cross_entropy(model(input_ids=IDS).logits, LABELS).backward()
        optimizer.step()
        after_step(model, step)
    model.eval()


@pytest.mark.parametrize("layout", LAYOUTS)
@pytest.mark.parametrize("name", METHODS)
def test_a_method_starts_as_what_was_there_trains_its_own_part_and_comes_back_as_one_model(
    layout: str, name: str, tmp_path: Path
) -> None:
    from transformers import AutoModelForSequenceClassification

    model = make_model(layout)
    before = logits(model)
    plain = {key: value.clone() for key, value in model.state_dict().items()}
    tuned = attach(model, Method(name, bottleneck=4, rank=2), fresh=HEADS, steps=12)
    assert logits(tuned) == pytest.approx(before, abs=1e-6)
    trained, total = trainable(tuned)
    assert trained == total if name == "full" else 0 < trained < total / 2
    tune(tuned)
    after = logits(tuned)
    assert (after - before).abs().max() > 1e-3
    whole = merged(tuned)
    assert type(whole) is type(model)
    assert logits(whole) == pytest.approx(after, abs=1e-5)
    if name == "adapter":  # every weight that was there is what it was, but the head's
        for key, value in plain.items():
            assert key.startswith(HEADS) or torch.equal(whole.state_dict()[key], value), key
    save(whole, tmp_path)
    again, facts = AutoModelForSequenceClassification.from_pretrained(tmp_path, output_loading_info=True)
    assert not facts["missing_keys"]
    assert not facts["unexpected_keys"]
    adapter.restore(again, tmp_path)
    assert logits(again) == pytest.approx(after, abs=1e-5)


@pytest.mark.parametrize("name", ["lora", "adalora"])
def test_low_rank_methods_leave_embeddings_norms_and_frozen_weights_alone(name: str) -> None:
    tuned = attach(make_model("bert"), Method(name), fresh=HEADS, steps=12)
    names = [key for key, p in tuned.named_parameters() if p.requires_grad]
    assert all("lora_" in key or ".classifier." in key for key in names)
    layers = {key.split(".lora_")[0] for key in names if "lora_" in key}
    assert len(layers) == 2 * 6  # query, key, value, output, up and down of two layers


def test_adalora_ends_with_fewer_ranks_than_it_began_with() -> None:
    tuned = attach(make_model("bert"), Method("adalora", rank=2), steps=12)
    tune(tuned)
    values = [p for key, p in tuned.named_parameters() if "lora_E" in key]
    assert sum(int((p != 0).sum()) for p in values) <= 2 * len(values) < sum(p.numel() for p in values)


def test_houlsby_has_twice_the_bottlenecks_of_pfeiffer() -> None:
    counts = []
    for placement in adapter.PLACEMENTS:
        model = make_model("bert")
        attach(model, Method("adapter", placement=placement))
        counts.append(len(adapter.bottlenecks(model)))
    assert counts == [2, 4]


def test_a_new_bottleneck_is_the_identity() -> None:
    x = torch.randn(3, 5, 8, generator=torch.Generator().manual_seed(0))
    assert torch.equal(adapter.Bottleneck(8, 2)(x), x)


def test_an_adapter_tuned_folder_is_read_by_the_encoder_and_has_its_own_fingerprint(tmp_path: Path) -> None:
    from transformers import AutoModel

    folder = make_folder(tmp_path / "tuned")
    plain = TextEncoder(folder, speed="exact", cache=tmp_path / "c")
    before, fingerprint = plain.encode(["green tea"]), plain.fingerprint
    model = AutoModel.from_pretrained(folder)
    attach(model, Method("adapter", bottleneck=4, placement="houlsby"))
    for bottleneck in adapter.bottlenecks(model):
        nn.init.normal_(bottleneck.up.weight, std=20.0)
    save(merged(model), folder)
    tuned = TextEncoder(folder, speed="exact", cache=tmp_path / "c")
    assert tuned.fingerprint != fingerprint
    assert abs(tuned.encode(["green tea"]) - before).max() > 1e-3
    fast = TextEncoder(folder, speed="fast", cache=tmp_path / "c").encode(["green tea"])
    assert fast[0] @ tuned.encode(["green tea"])[0] > 0.98


def test_saving_a_plain_model_over_an_adapter_takes_the_adapter_away(tmp_path: Path) -> None:
    model = make_model("bert")
    attach(model, Method("adapter"))
    save(model, tmp_path)
    assert (tmp_path / adapter.WEIGHTS).exists()
    save(make_model("bert"), tmp_path)
    assert not (tmp_path / adapter.WEIGHTS).exists()


def test_damaged_or_foreign_bottlenecks_are_refused_by_name(tmp_path: Path) -> None:
    model = make_model("bert")
    attach(model, Method("adapter"))
    save(model, tmp_path)
    with pytest.raises(ArtifactError, match=r"adapter\.safetensors does not fit"):
        adapter.restore(make_model("distilbert"), tmp_path)
    (tmp_path / adapter.WEIGHTS).write_bytes(b"not safetensors")
    with pytest.raises(ArtifactError, match=r"adapter\.safetensors does not fit"):
        adapter.restore(make_model("bert"), tmp_path)


def test_what_cannot_be_tuned_is_said() -> None:
    with pytest.raises(InputError, match="unknown method 'magic'; allowed: full, lora"):
        Method("magic")
    with pytest.raises(InputError, match="rank must be 1 or more"):
        Method(rank=0)
    with pytest.raises(InputError, match="unknown placement"):
        Method("adapter", placement="everywhere")
    with pytest.raises(InputError, match="dropout must be at least 0"):
        Method(dropout=1.0)
    with pytest.raises(InputError, match="at least 10 steps, got 3"):
        attach(make_model("bert"), Method("adalora"), steps=3)
