"""A shop's pictures: the file that an item names, and its pixels."""

from __future__ import annotations

from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Final
from urllib.parse import unquote, urlsplit

import numpy as np
import polars as pl

from intently.errors import InputError, MissingExtraError
from intently.schema import PATH, ByteArray

if TYPE_CHECKING:
    from PIL.Image import Image

SIDE: Final = 224
"""Height and width that the network reads."""
MAX_BYTES: Final = 30_000_000
MAX_PIXELS: Final = 60_000_000
FORMATS: Final = ("JPEG", "PNG", "WEBP", "GIF", "BMP")
_LINKS: Final = ("http", "https", "")


class PictureFolder:
    """The folder that holds a shop's pictures; nothing outside is read, whatever an item names."""

    def __init__(self, root: Path) -> None:
        self.root = root.resolve()

    def find(self, name: str) -> Path | None:
        """The file that `name` stands for: a path inside the folder, or a link to a file of that path.

        https://cdn.shop.example/img/7.jpg?w=200 is img/7.jpg in the folder, else 7.jpg. None where there is
        no such file, or where it lies outside, be it by way of "..", an absolute path or a symbolic link.
        """
        try:
            link = urlsplit(name.split(PATH)[0].strip())
            path = PurePosixPath(unquote(link.path) if link.scheme else link.path)
            if link.scheme not in _LINKS or not path.name:
                return None
            for inside in (path.relative_to(path.anchor), path.name):
                file = (self.root / inside).resolve()
                if file.is_file() and file.is_relative_to(self.root):
                    return file
        except (OSError, ValueError):  # a name that no file can have
            return None
        return None


def names_of(table: pl.DataFrame) -> list[str]:
    """What each item names as its picture, the first of several; '' without."""
    if "image" not in table.columns:
        return [""] * table.height
    column = table["image"]
    if isinstance(column.dtype, pl.List | pl.Array):
        column = column.cast(pl.List(pl.String)).list.first()
    return column.cast(pl.String).fill_null("").str.strip_chars().to_list()


def pixels_of(file: Path) -> ByteArray:
    """(SIDE, SIDE, 3) uint8: the whole picture, upright, on white where it is clear or not square.

    Raises InputError for a file that is too large, damaged or no picture, MissingExtraError without Pillow.
    """
    try:
        from PIL import Image, ImageOps
    except ImportError as error:
        raise MissingExtraError("pillow", "pictures") from error
    try:
        if (size := file.stat().st_size) > MAX_BYTES:
            raise InputError(f"{size / 1e6:.0f} MB, at most {MAX_BYTES / 1e6:.0f} are read")
        with Image.open(file, formats=FORMATS) as opened:
            if (pixels := opened.width * opened.height) > MAX_PIXELS:
                raise InputError(f"{pixels / 1e6:.0f} megapixels, at most {MAX_PIXELS / 1e6:.0f} are read")
            opened.draft("RGB", (2 * SIDE, 2 * SIDE))  # a JPEG of a camera is read at a part of its size
            upright = ImageOps.exif_transpose(opened)
            whole = ImageOps.pad(_on_white(upright), (SIDE, SIDE), Image.Resampling.BICUBIC, color="white")
            return np.asarray(whole, np.uint8)
    except InputError:
        raise
    except Exception as error:  # a foreign library on a foreign file: anything can come
        raise InputError(f"no picture that can be read ({type(error).__name__})") from error


def _on_white(picture: Image) -> Image:
    from PIL import Image as Kind

    if not picture.has_transparency_data:
        return picture.convert("RGB")
    clear = picture.convert("RGBA")
    white = Kind.new("RGBA", clear.size, "white")
    return Kind.alpha_composite(white, clear).convert("RGB")
