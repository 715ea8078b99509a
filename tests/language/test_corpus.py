"""A corpus says every text once, keeps a stable part aside, and names what is wrong with a file."""

from __future__ import annotations

import gzip
from pathlib import Path

import polars as pl
import pytest

from intently.data import Dataset
from intently.errors import InputError
from intently.language.corpus import (
    Corpus,
    Source,
    behaviour_source,
    catalogue_source,
    file_source,
    text_source,
)

TEXTS = [f"{word} number {n}" for n in range(60) for word in ("tea", "Coffee", "红酒 很好喝", "🌱 emoji")]


def test_each_text_counts_once_whatever_its_case_and_blanks() -> None:
    corpus = Corpus(
        [text_source(TEXTS), text_source([f"  {t.upper()}\t" for t in TEXTS] + ["", "\n"], "again")]
    )
    said = [*corpus.texts("train"), *corpus.texts("held_out")]
    assert sorted(said) == sorted(TEXTS)
    assert corpus.facts.texts == len(TEXTS)
    assert corpus.facts.duplicates == len(TEXTS)
    assert corpus.facts.empty == 2
    assert corpus.facts.sources == {"texts": len(TEXTS), "again": 0}


def test_the_held_out_part_is_the_same_whatever_else_is_read() -> None:
    few, many = (
        Corpus([text_source(TEXTS)]),
        Corpus([text_source([f"more {n}" for n in range(9000)] + TEXTS)]),
    )
    held = set(few.texts("held_out"))
    assert 0 < len(held) < 40
    assert {text for text in many.texts("held_out") if not text.startswith("more")} == held
    assert not held & set(many.texts("train"))


def test_texts_stream_in_bounded_memory() -> None:
    read = 0

    def endless():  # type: ignore[no-untyped-def]
        nonlocal read
        while True:
            read += 1
            yield f"text {read}"

    stream = Corpus([Source("endless", endless)]).texts("train")
    for _ in range(10):
        next(stream)
    assert read <= 5000


def test_files_of_every_kind_are_read(tmp_path: Path) -> None:
    lines = [f"line {n} says 你好 🙂" for n in range(30)]
    (tmp_path / "a.txt").write_text("\n".join(lines) + "\n\n", encoding="utf-8")
    (tmp_path / "g.txt").write_bytes("\n".join("这是一行中文的评论" for _ in lines).encode("gb18030"))
    with gzip.open(tmp_path / "b.csv.gz", "wt", encoding="utf-8") as file:
        file.write("item_id,title,brand\n" + "".join(f"{n},Tea {n},Acme\n" for n in range(30)))
    pl.DataFrame({"review": lines, "stars": [1] * 30}).write_parquet(tmp_path / "c.parquet")
    pl.DataFrame({"text": lines, "title": ["no"] * 30}).write_ndjson(tmp_path / "d.jsonl")
    read = {p.name: list(file_source(p).read()) for p in sorted(tmp_path.iterdir())}
    assert read["a.txt"] == read["c.parquet"] == read["d.jsonl"] == lines
    assert read["b.csv.gz"][:2] == ["Tea 0, Acme", "Tea 1, Acme"]
    assert read["g.txt"][0] == "这是一行中文的评论"
    assert list(file_source(tmp_path / "d.jsonl", "title").read()) == ["no"] * 30


def test_what_cannot_be_read_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no file"):
        file_source(tmp_path / "none.txt").read()
    (tmp_path / "empty.csv").write_bytes(b"")
    with pytest.raises(InputError, match="empty"):
        list(file_source(tmp_path / "empty.csv").read())
    (tmp_path / "cut.parquet").write_bytes(b"PAR1 and no more")
    with pytest.raises(InputError, match="damaged Parquet"):
        list(file_source(tmp_path / "cut.parquet").read())
    (tmp_path / "t.csv").write_text("a,b\n1,2\n")
    with pytest.raises(InputError, match=r"no column of t\.csv is known to hold text; it has 'a', 'b'"):
        list(file_source(tmp_path / "t.csv").read())
    with pytest.raises(InputError, match="no column 'c'"):
        list(file_source(tmp_path / "t.csv", "c").read())
    (tmp_path / "bad.txt").write_bytes(b"fine\n\xff\xfe\xfd broken\n" + b"ok \xc3\n")
    with pytest.raises(InputError, match=r"line 2 of bad\.txt is not"):
        list(file_source(tmp_path / "bad.txt").read())
    packed = gzip.compress(b"text\n" * 4000)
    (tmp_path / "cut.txt.gz").write_bytes(packed[: len(packed) // 2])
    with pytest.raises(InputError, match="damaged gzip"):
        list(file_source(tmp_path / "cut.txt.gz").read())


@pytest.mark.parametrize("texts", [[], ["", " "], ["tea"] * 500, [f"{n}" for n in range(15)]])
def test_a_corpus_that_says_nothing_is_refused(texts: list[str]) -> None:
    with pytest.raises(InputError, match="says too little"):
        _ = Corpus([text_source(texts)]).facts


def test_settings_out_of_range_are_refused() -> None:
    with pytest.raises(InputError, match="held_out must lie between"):
        Corpus([text_source(TEXTS)], held_out=0.9)
    with pytest.raises(InputError, match="at least one source"):
        Corpus([])
    with pytest.raises(InputError, match="has the parts train, held_out"):
        next(Corpus([text_source(TEXTS)]).texts("test"))


def test_a_shop_gives_its_catalogue_and_what_its_users_did() -> None:
    events = pl.DataFrame({"user_id": ["a", "b"], "item_id": ["t", "m"], "timestamp": [0, 90_000]})
    items = pl.DataFrame({"item_id": ["t", "m"], "title": ["green tea", "milk"], "brand": ["Acme", None]})
    shop = Dataset.from_frames(events, items)
    assert sorted(catalogue_source(shop).read()) == ["green tea, Acme", "milk"]
    assert list(behaviour_source(shop.as_of(1.0)).read()) == ["bought green tea; now", ""]
