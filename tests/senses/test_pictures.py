"""What an item names leads to a file in the shop's folder or nowhere; what is no picture is refused."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import polars as pl
import pytest
from PIL import Image

from intently.errors import InputError
from intently.senses import PictureFolder
from intently.senses.pictures import MAX_BYTES, SIDE, names_of, pixels_of
from tiny_pictures import draw


@pytest.mark.parametrize(
    "name",
    [
        "img/7 a.png",
        "/img/7 a.png",
        "./img/7 a.png",
        "img/../img/7 a.png",
        "https://cdn.shop.example/img/7%20a.png?w=200#top",
        "//cdn.shop.example/img/7 a.png",
        "img/7 a.png > img/8.png",
    ],
)
def test_a_path_or_a_link_is_found_in_the_folder(tmp_path: Path, name: str) -> None:
    file = draw(tmp_path / "img" / "7 a.png", 0, 1)
    assert PictureFolder(tmp_path).find(name) == file


def test_a_link_to_another_place_is_found_by_its_file_name(tmp_path: Path) -> None:
    file = draw(tmp_path / "7.png", 0, 1)
    assert PictureFolder(tmp_path).find("https://cdn.shop.example/a/b/7.png") == file


@pytest.mark.parametrize(
    "name",
    [
        "",
        " ",
        "..",
        "/",
        ".",
        "img",
        "../secret.png",
        "img/../../secret.png",
        "%2e%2e/secret.png",
        "https://shop.example/../secret.png",
        "https://shop.example/%2e%2e/secret.png",
        "file:///secret.png",
        "data:image/png;base64,AAAA",
        "out.png",
        "away/secret.png",
        "a\0b.png",
        "x" * 5000,
        "https://[broken",
        "missing.png",
    ],
)
def test_nothing_outside_the_folder_is_found(tmp_path: Path, name: str) -> None:
    outside = draw(tmp_path / "secret.png", 0, 1)
    root = tmp_path / "pictures"
    draw(root / "img" / "1.png", 0, 2)
    (root / "out.png").symlink_to(outside)
    (root / "away").symlink_to(tmp_path)
    assert PictureFolder(root).find(name) is None
    assert PictureFolder(root).find(str(outside)) is None


def test_the_first_of_several_names_counts() -> None:
    table = pl.DataFrame({"item_id": ["a", "b", "c"], "image": [["1.png", "2.png"], [], None]})
    assert names_of(table) == ["1.png", "", ""]
    assert names_of(pl.DataFrame({"image": [" 1.png ", None]})) == ["1.png", ""]
    assert names_of(pl.DataFrame({"item_id": ["a"]})) == [""]


def test_a_picture_is_read_whole_upright_and_on_white(tmp_path: Path) -> None:
    wide = Image.new("RGB", (400, 200), "red")
    wide.paste((0, 0, 255), (0, 0, 200, 200))  # blue on the left
    wide.save(tmp_path / "wide.png")
    seen = pixels_of(tmp_path / "wide.png")
    assert seen.shape == (SIDE, SIDE, 3)
    assert seen[0].min() == 255  # white above and below
    assert seen[112, 10].tolist() == [0, 0, 255]
    assert seen[112, -10].tolist() == [255, 0, 0]

    turned = Image.Exif()
    turned[0x0112] = 6  # to be turned by a quarter
    wide.save(tmp_path / "turned.jpg", exif=turned)
    upright = pixels_of(tmp_path / "turned.jpg")
    assert upright[:, 0].min() > 250  # white to the left and right
    assert upright[10, 112, 2] > 200  # what was left is above

    clear = Image.new("RGBA", (50, 50), (0, 0, 0, 0))
    clear.paste((0, 255, 0, 255), (20, 20, 30, 30))
    clear.save(tmp_path / "clear.png")
    assert pixels_of(tmp_path / "clear.png")[5, 5].tolist() == [255, 255, 255]
    assert pixels_of(tmp_path / "clear.png")[112, 112].tolist() == [0, 255, 0]


@pytest.mark.parametrize(
    ("name", "mode"),
    [("a.jpg", "CMYK"), ("a.jpg", "L"), ("a.png", "P"), ("a.png", "I;16"), ("a.png", "1"), ("a.webp", "RGB")],
)
def test_every_usual_kind_is_read(tmp_path: Path, name: str, mode: str) -> None:
    grey = Image.fromarray(np.full((40, 30), 128, np.uint8))
    picture = Image.fromarray(np.full((40, 30), 33_000, np.uint16)) if mode == "I;16" else grey.convert(mode)
    picture.save(tmp_path / name)
    assert pixels_of(tmp_path / name).shape == (SIDE, SIDE, 3)
    Image.new("RGB", (1, 1)).save(tmp_path / "point.gif")
    assert pixels_of(tmp_path / "point.gif").max() == 0


def test_what_is_no_picture_is_refused_with_the_reason(tmp_path: Path) -> None:
    draw(tmp_path / "whole.png", 0, 1)
    (tmp_path / "half.png").write_bytes((tmp_path / "whole.png").read_bytes()[:400])
    (tmp_path / "text.jpg").write_text("no picture")
    (tmp_path / "empty.png").touch()
    for name in ("half.png", "text.jpg", "empty.png", "gone.png"):
        with pytest.raises(InputError, match="no picture that can be read"):
            pixels_of(tmp_path / name)
    with (tmp_path / "long.png").open("wb") as file:
        file.truncate(MAX_BYTES + 1)
    with pytest.raises(InputError, match="30 MB, at most 30"):
        pixels_of(tmp_path / "long.png")
    for side, reason in ((8_000, "64 megapixels, at most 60"), (14_000, "no picture")):
        Image.new("1", (side, side)).save(tmp_path / "bomb.png")
        with pytest.raises(InputError, match=reason):
            pixels_of(tmp_path / "bomb.png")
    (tmp_path / "script.png").write_bytes(b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 9 9\n")
    with pytest.raises(InputError, match="no picture"):  # such are not tried at all
        pixels_of(tmp_path / "script.png")
