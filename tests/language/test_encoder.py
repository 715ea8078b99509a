"""TextEncoder with any transformers folder: exact, fast, cached."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from tiny_folder import make_folder, write_json

from intently.errors import InputError
from intently.language import TextEncoder
from intently.language import encoder as encoder_module

TEXTS = ["green tea bag", "black coffee bean", "garden hose", "red wine", "milk", "bread soap nail polish"]


def test_vectors_are_those_of_transformers(tiny: Path, tmp_path: Path) -> None:
    import torch
    from transformers import BertModel

    ours = TextEncoder(tiny, speed="exact", cache=tmp_path / "c").encode(["Green tea"])
    model = BertModel.from_pretrained(tiny, local_files_only=True).eval()
    with torch.inference_mode():
        hidden = model(input_ids=torch.tensor([[2, 4, 6, 3]])).last_hidden_state[0]
    mean = hidden.mean(dim=0).numpy()
    assert ours[0] == pytest.approx(mean / np.linalg.norm(mean), abs=1e-5)


def test_a_text_has_the_same_vector_alone_and_in_a_crowd(tiny: Path, tmp_path: Path) -> None:
    for speed in ("exact", "fast"):
        together = TextEncoder(tiny, speed=speed, cache=tmp_path / f"together-{speed}").encode(TEXTS * 3)
        for row, text in enumerate(TEXTS):
            alone = TextEncoder(tiny, speed=speed, cache=tmp_path / f"alone-{speed}").encode([text])
            assert alone[0] @ together[row] > 0.99999, (speed, text)


def test_fast_vectors_are_faithful_and_the_fidelity_is_kept(tiny: Path, tmp_path: Path) -> None:
    exact = TextEncoder(tiny, speed="exact", cache=tmp_path / "c").encode(TEXTS)
    encoder = TextEncoder(tiny, speed="fast", cache=tmp_path / "c")
    assert encoder.fidelity is None
    fast = encoder.encode(TEXTS)
    assert (exact * fast).sum(axis=1).min() > 0.98
    assert encoder.fidelity is not None
    assert encoder.fidelity.fidelity == pytest.approx((exact * fast).sum(axis=1).mean(), abs=1e-4)


def test_auto_is_exact_for_few_texts_and_fast_for_many(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    encoder = TextEncoder(tiny, cache=tmp_path / "c")
    encoder.encode(TEXTS)
    assert encoder.fidelity is None
    monkeypatch.setattr(encoder_module, "_WORTH_EXPORTING", 3)
    encoder.encode(TEXTS)
    assert encoder.fidelity is not None
    fast = TextEncoder(tiny, speed="fast", cache=tmp_path / "c").encode(TEXTS)
    assert (TextEncoder(tiny, cache=tmp_path / "c").encode(TEXTS) == fast).all()


def test_auto_stays_exact_where_the_fast_way_is_not_faithful(
    tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(encoder_module, "_WORTH_EXPORTING", 3)
    monkeypatch.setattr(encoder_module, "FAITHFUL", 1.1)
    auto = TextEncoder(tiny, cache=tmp_path / "c").encode(TEXTS)
    assert (auto == TextEncoder(tiny, speed="exact", cache=tmp_path / "c").encode(TEXTS)).all()


def test_only_new_texts_are_encoded(tiny: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seen: list[str] = []
    compute = TextEncoder._compute

    def watch(self: TextEncoder, texts: list[str], way: str) -> object:
        seen.extend(texts)
        return compute(self, texts, way)

    monkeypatch.setattr(TextEncoder, "_compute", watch)
    first = TextEncoder(tiny, cache=tmp_path / "c").encode(["milk", "bread", "milk", " milk "])
    assert sorted(seen) == ["bread", "milk"]
    again = TextEncoder(tiny, cache=tmp_path / "c").encode(["bread", "soap"])
    assert sorted(seen) == ["bread", "milk", "soap"]
    assert (again[0] == first[1]).all()


def test_another_model_does_not_read_the_first_ones_vectors(tmp_path: Path) -> None:
    one = make_folder(tmp_path / "one", seed=1)
    two = make_folder(tmp_path / "two", seed=2)
    first = TextEncoder(one, cache=tmp_path / "c").encode(["milk"])
    second = TextEncoder(two, cache=tmp_path / "c").encode(["milk"])
    assert not np.allclose(first, second)
    moved = make_folder(tmp_path / "moved", seed=1)
    assert TextEncoder(moved).fingerprint == TextEncoder(one).fingerprint


def test_awkward_texts_go_through(tiny: Path, tmp_path: Path) -> None:
    texts = ["milk " * 2000, "🍵🫖", "绿茶 茶包", "\ud800 lone", "\x00\x07", "﷽" * 9000, "a" * 10_000]
    vectors = TextEncoder(tiny, cache=tmp_path / "c").encode(texts)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx(np.ones(len(texts)), abs=1e-5)
    assert TextEncoder(tiny, cache=tmp_path / "c").encode([]).shape == (0, 32)
    assert not TextEncoder(tiny, cache=tmp_path / "c").encode(["", " \n\t"]).any()


def test_pooling_prompt_case_and_length_come_from_the_folder(tiny: Path, tmp_path: Path) -> None:
    mean = TextEncoder(tiny, cache=tmp_path / "c").encode(["tea"])
    write_json(tiny / "1_Pooling" / "config.json", {"pooling_mode_cls_token": True})
    cls = TextEncoder(tiny, cache=tmp_path / "c").encode(["tea"])
    write_json(tiny / "1_Pooling" / "config.json", {"pooling_mode": "max"})
    largest = TextEncoder(tiny, cache=tmp_path / "c").encode(["tea"])
    (tiny / "1_Pooling" / "config.json").unlink()
    prompts = {"prompts": {"passage": "black "}, "default_prompt_name": "passage"}
    write_json(tiny / "config_sentence_transformers.json", prompts)
    prompted = TextEncoder(tiny, cache=tmp_path / "c").encode(["tea"])
    (tiny / "config_sentence_transformers.json").unlink()
    black = TextEncoder(tiny, cache=tmp_path / "c").encode(["black tea"])
    assert prompted == pytest.approx(black, abs=1e-6)
    assert len({tuple(np.round(v[0], 4)) for v in (mean, cls, largest, prompted)}) == 4
    write_json(tiny / "sentence_bert_config.json", {"max_seq_length": 4, "do_lower_case": True})
    short = TextEncoder(tiny, cache=tmp_path / "c")
    assert short.folder.max_tokens == 4
    assert short.encode(["green tea milk bread"]) == pytest.approx(short.encode(["GREEN TEA"]), abs=1e-6)


def test_one_text_is_encoded_without_torch_once_the_graph_is_there(tiny: Path, tmp_path: Path) -> None:
    cache = tmp_path / "c"
    expected = TextEncoder(tiny, speed="fast", cache=cache).encode(["green tea", "milk bread"])[1]
    code = (
        "import sys; from pathlib import Path\n"
        "sys.modules['torch'] = sys.modules['transformers'] = None\n"
        "from intently.language import TextEncoder\n"
        f"one = TextEncoder(Path({str(tiny)!r}), cache=Path({str(cache)!r}))\n"
        "print(*one.encode(['bread milk'])[0][:1], *one.encode(['milk bread'])[0])\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert np.array(done.stdout.split()[1:], float) == pytest.approx(expected, abs=1e-5)


def test_options_that_do_not_exist_are_refused(tiny: Path) -> None:
    with pytest.raises(InputError, match=r"unknown speed 'quick'; allowed: auto, exact, fast, fastest"):
        TextEncoder(tiny, speed="quick")
    with pytest.raises(InputError, match=r"threads must be 0 \(all\) or more, got -1"):
        TextEncoder(tiny, threads=-1)
    with pytest.raises(InputError, match="texts must be str, got NoneType"):
        TextEncoder(tiny).encode([None])  # type: ignore[list-item]
