"""Items are read by their texts and their pictures together, and a shop without one of them by the other."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest

from intently import progress
from intently.config import Settings
from intently.data import Dataset
from intently.errors import InputError
from intently.models.content import Content
from intently.models.two_tower import TwoTower
from intently.pipeline import read_catalogue
from intently.reader import ItemReader
from intently.senses import weights
from tiny_pictures import draw
from tiny_shops import checkerboard


def pictured(folder: Path, titles: bool = True) -> Dataset:
    """The checkerboard, its titles all the same (or none), its pictures of two kinds."""
    plain = checkerboard(vectors=False)
    files = [f"{item}.png" for item in plain.items.ids]
    for number, file in enumerate(files):
        draw(folder / file, number % 2, number)
    title = pl.lit("Thing" if titles else None, dtype=pl.String)
    table = plain.item_table.with_columns(title=title, image=pl.Series(files))
    return Dataset(plain.events, plain.users, plain.items, table, plain.user_table)


@pytest.mark.parametrize("titles", [True, False])
def test_pictures_tell_items_apart_that_titles_do_not(tmp_path: Path, titles: bool) -> None:
    shop = pictured(tmp_path / "pictures", titles)
    settings = Settings(home=tmp_path / "home", speed="exact", pictures=tmp_path / "pictures")
    read = read_catalogue(shop, settings)
    assert read.vectors is not None
    np.testing.assert_allclose(np.linalg.norm(read.vectors, axis=1), 1.0, rtol=1e-5)
    never_met = [18, 19]  # one of each parity
    for model in (Content(), TwoTower(epochs=4, d=16, seed=0)):
        scores = model.fit(read).scores(read.histories([0, 1]))[:, never_met]
        assert scores[0, 0] > scores[0, 1]
        assert scores[1, 1] > scores[1, 0]


def test_a_further_item_is_read_into_the_same_space(tmp_path: Path) -> None:
    shop = pictured(tmp_path / "pictures")
    settings = Settings(home=tmp_path / "home", speed="exact", pictures=tmp_path / "pictures")
    reader = ItemReader.of(shop.item_table, settings)
    reader.ready()
    again = reader.read(shop.item_table[3:5])
    np.testing.assert_allclose(again, reader.vectors[3:5], atol=1e-6)
    nothing = pl.DataFrame({"item_id": ["n"], "image": ["gone.png"]})
    assert not reader.read(nothing).any()


def test_a_folder_that_is_none_is_said_and_one_that_is_not_set_too(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    shop = pictured(tmp_path / "pictures")
    home = tmp_path / "home"
    with pytest.raises(InputError, match=r"no folder of pictures at .*gone"):
        read_catalogue(shop, Settings(home=home, speed="exact", pictures=tmp_path / "gone"))
    progress.show()
    try:
        plain = read_catalogue(shop, Settings(home=home, speed="exact"))
        (tmp_path / "few").mkdir()
        draw(tmp_path / "few" / "i001.png", 0, 1)
        few = read_catalogue(shop, Settings(home=home, speed="exact", pictures=tmp_path / "few"))
        monkeypatch.setattr(weights, "PACKAGE", "not_installed_at_all")
        monkeypatch.setattr(weights, "RECIPE", "another")
        without = read_catalogue(shop, Settings(home=home, speed="exact", pictures=tmp_path / "pictures"))
    finally:
        progress.show(False)
    said = capsys.readouterr().err
    assert "20 items name a picture: set `pictures` to the folder" in said
    assert "pictures: 1 of 20 items have one, 20 name one: too few to be of use" in said
    assert "pictures are not read: this needs a network for pictures" in said
    for read in (plain, few, without):
        assert read.vectors is not None
        assert read.vectors.shape[1] == 384
