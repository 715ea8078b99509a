"""Which encoder a shop gets: what is set, what was tuned, else what its texts are written in."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from intently import progress
from intently.config import Settings, load_settings
from intently.data import Dataset
from intently.errors import ArtifactError, ConfigError
from intently.language import choice, choose_encoder, encode_catalogue, multilingual
from intently.language.choice import HAN_SHARE, encoder_for, mostly_han, named_encoder
from intently.language.folder import bundled_folder, open_folder
from intently.pipeline import read_catalogue
from intently.plan import forecast

ENGLISH = [f"green tea bags, box of {n}" for n in range(40)]
CHINESE = [f"西湖龙井 绿茶 {n}克 礼盒装" for n in range(40)]


@pytest.fixture
def notes(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(progress, "note", said.append)
    return said


@pytest.fixture
def ready(chinese: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The multilingual encoder as if it lay in the user's cache."""
    monkeypatch.setattr(choice, "multilingual_folder", lambda cache=None: chinese)
    return chinese


def shop(titles: list[str]) -> Dataset:
    names = [f"i{row:03d}" for row in range(len(titles))]
    events = pl.DataFrame({"user_id": ["u"] * 3, "item_id": names[:3], "timestamp": [1, 2, 3]})
    return Dataset.from_frames(events, pl.DataFrame({"item_id": names, "title": titles}))


def test_english_texts_get_the_english_encoder_and_nothing_is_said(tmp_path: Path, notes: list[str]) -> None:
    assert choose_encoder(ENGLISH, Settings(home=tmp_path)) == bundled_folder()
    assert choose_encoder(["", ""], Settings(home=tmp_path)) == bundled_folder()
    assert notes == []
    assert open_folder(bundled_folder()).bundled


@pytest.mark.parametrize("n_chinese", [40, 20, 4])
def test_chinese_and_mixed_catalogues_get_the_multilingual_encoder(
    n_chinese: int, tmp_path: Path, ready: Path, notes: list[str]
) -> None:
    texts = CHINESE[:n_chinese] + ENGLISH[n_chinese:]
    assert choose_encoder(texts, Settings(home=tmp_path)) == ready
    assert notes == [f"encoder: multilingual, since {n_chinese / 40:.0%} of the texts are Chinese"]


def test_a_single_chinese_title_does_not_change_an_english_shop(tmp_path: Path) -> None:
    texts = [*CHINESE[:1], *ENGLISH]
    assert 0 < mostly_han(texts) < HAN_SHARE
    assert choose_encoder(texts, Settings(home=tmp_path)) == bundled_folder()


def test_a_brand_in_latin_letters_leaves_a_title_chinese() -> None:
    assert mostly_han(["Nike Air Max 90 男子运动鞋", "Dove 多芬 body wash 沐浴露", "さけ 日本酒"]) == 1
    assert mostly_han(["iPhone 14 Pro Max 手机", "café crème", "чай зелёный", "123 -"]) == 0
    assert mostly_han([]) == 0
    assert mostly_han(ENGLISH * 2000 + CHINESE * 2000) == pytest.approx(0.5, abs=0.01)


def test_what_is_set_wins_over_what_was_tuned_and_that_over_the_rest(
    tiny: Path, tmp_path: Path, notes: list[str]
) -> None:
    home = tmp_path / "home"
    live, tuned = home / "encoders" / "live", home / "encoders" / "next-lora-1"
    tuned.mkdir(parents=True)
    live.symlink_to(tuned.name)
    assert choose_encoder(CHINESE, Settings(home=home)) == tuned
    assert choose_encoder(CHINESE, Settings(home=home, encoder=str(tiny))) == tiny
    assert notes == ["encoder: next-lora-1, tuned for this shop", f"encoder: {tiny}, as the settings say"]
    tuned.rmdir()
    with pytest.raises(ArtifactError, match="leads nowhere"):
        choose_encoder(CHINESE, Settings(home=home))


def test_without_the_multilingual_package_the_english_one_reads_and_it_is_said(
    tmp_path: Path, notes: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(multilingual, "PACKAGE", "no_such_package")
    assert encoder_for(CHINESE, tmp_path) == bundled_folder()
    assert len(notes) == 1
    assert "100% of the texts are Chinese, which the English encoder reads poorly" in notes[0]
    assert "intently[demo]" in notes[0]


@pytest.mark.usefixtures("ready")
def test_the_recipe_reads_a_mixed_catalogue_with_the_multilingual_encoder(
    tmp_path: Path, notes: list[str]
) -> None:
    titles = ["西湖龙井 绿茶", "龙井茶叶 礼盒", "laundry detergent", "薰衣草 洗衣液", "green tea"]
    settings = Settings(home=tmp_path)
    vectors = read_catalogue(shop(titles), settings).vectors
    assert vectors is not None
    near = vectors @ vectors.T - 2 * np.eye(5)
    assert near.argmax(axis=1)[[0, 1, 2, 3]].tolist() == [1, 0, 3, 2]
    assert notes == ["encoder: multilingual, since 60% of the texts are Chinese"]
    alone = encode_catalogue(shop(titles), cache=tmp_path / "vectors").vectors
    assert (alone == vectors).all()


def test_the_encoders_that_come_along_are_asked_for_by_name(
    tmp_path: Path, ready: Path, notes: list[str]
) -> None:
    assert named_encoder("english") == bundled_folder()
    assert named_encoder("multilingual") == ready
    assert named_encoder("./multilingual") == Path("multilingual")
    assert named_encoder(tmp_path) == tmp_path
    assert choose_encoder(ENGLISH, Settings(home=tmp_path, encoder="multilingual")) == ready
    assert notes == ["encoder: multilingual, as the settings say"]


def test_the_speed_of_the_settings_reaches_the_encoder(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"'speed'.* must be one of auto, exact, fast, fastest, got 'slow'"):
        load_settings(home=tmp_path, speed="slow")
    read_catalogue(shop(ENGLISH), Settings(home=tmp_path, speed="fast"))
    assert list((tmp_path / "vectors").rglob("int8*.onnx"))  # auto exports nothing for so few texts


def test_the_plan_counts_the_larger_encoder(tmp_path: Path) -> None:
    stage = "reading the catalogue"
    english, chinese = (forecast(shop(texts), Settings(home=tmp_path)) for texts in (ENGLISH, CHINESE))
    assert chinese.stages_s[stage] > english.stages_s[stage] + 1
    assert chinese.total_s > english.total_s
    named = forecast(shop(ENGLISH), Settings(home=tmp_path, encoder="multilingual"))
    assert named.stages_s[stage] > english.stages_s[stage] + 1
