"""Which encoder a shop gets: by its settings, by what was tuned for it, else by looking at its texts."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path

from intently import progress
from intently.config import Settings
from intently.errors import ArtifactError, MissingExtraError
from intently.language.folder import bundled_folder
from intently.language.multilingual import multilingual_folder

HAN_SHARE = 0.05
"""From this share of Chinese texts on a shop gets the multilingual encoder.

Low, since that one reads English too, while the English one reads nothing of a Chinese title."""

_HAN_LETTERS = 3  # Latin letters that say as much as one Chinese character
_LOOK = 20_000  # texts looked at, evenly spread
_HAN = re.compile("[\u3400-\u4dbf\u4e00-\u9fff\uf900-\ufaff\u3040-\u30ff]")  # kana too
_LETTER = re.compile(r"[^\W\d_]")


MULTILINGUAL = "multilingual"
NAMES = ("english", MULTILINGUAL)
"""Encoders that come with Intently, by the names that stand for their folders."""


def choose_encoder(texts: Sequence[str], settings: Settings) -> Path:
    """The folder of the encoder for these texts; says in one line which, and why.

    In this order: `settings.encoder`; the encoder that was tuned for this shop and published; the
    multilingual one for Chinese or mixed texts; the bundled English one. Raises MissingExtraError when
    none is installed, ArtifactError when the published one is named but not there.
    """
    if settings.encoder:
        progress.note(f"encoder: {settings.encoder}, as the settings say")
        return named_encoder(settings.encoder)
    tuned = published_encoder(settings.home)
    if tuned is not None:
        progress.note(f"encoder: {tuned.name}, tuned for this shop")
        return tuned
    return encoder_for(texts)


def encoder_for(texts: Sequence[str], cache: Path | None = None) -> Path:
    """The multilingual encoder's folder for Chinese or mixed texts, else the English one's.

    cache: folder in which the multilingual one is made; default: the user's cache.
    """
    share = mostly_han(texts)
    if share < HAN_SHARE:
        return bundled_folder()
    told = f"{share:.0%} of the texts are Chinese"
    try:
        folder = multilingual_folder(cache)
    except MissingExtraError as error:
        english = bundled_folder()
        progress.note(f"{told}, which the English encoder reads poorly: {error}, or set `encoder`")
        return english
    progress.note(f"encoder: multilingual, since {told}")
    return folder


def named_encoder(given: str | Path, cache: Path | None = None) -> Path:
    """The folder that `english` or `multilingual` stands for; whatever else is given, as a path.

    A folder of that name is meant by ./english. The multilingual one is made when it is not in `cache`
    yet. Raises MissingExtraError when its package is not installed.
    """
    if str(given) not in NAMES:
        return Path(given)
    return multilingual_folder(cache) if str(given) == MULTILINGUAL else bundled_folder()


def published_encoder(home: Path) -> Path | None:
    """The encoder tuned for the shop in `home`: where `encoders/live` leads; None without one."""
    live = home / "encoders" / "live"
    if live.is_symlink() and not live.exists():
        raise ArtifactError(f"{live} leads nowhere", hint="tune again, or set `encoder`")
    return live.resolve() if live.is_dir() else None  # what is published meanwhile is for the next run


def mostly_han(texts: Sequence[str]) -> float:
    """Share of the non-empty texts that say more in Chinese (or kana) than in other letters.

    A Chinese character counts as three letters: 'Dove 多芬 body wash 沐浴露' is Chinese. Of very many
    texts some are looked at.

    >>> mostly_han(["绿茶 green", "green tea", "", "iPhone 手机"])
    0.6666666666666666
    """
    known = [text for text in texts if text]
    seen = known[:: max(1, len(known) // _LOOK)]
    return sum(map(_is_han, seen)) / len(seen) if seen else 0.0


def _is_han(text: str) -> bool:
    han = len(_HAN.findall(text))
    return han > 0 and _HAN_LETTERS * han >= len(_LETTER.findall(text)) - han
