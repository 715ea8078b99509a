"""Files as shops really hand them over: name -> (bytes, what must become of them).

`counts` is (accepted, duplicate, rejected); `error` is what the one clear message says.
"""

from __future__ import annotations

import gzip
import io
from dataclasses import dataclass, field
from typing import Any

import polars as pl


@dataclass(frozen=True)
class Odd:
    """One file of the corpus."""

    name: str
    content: bytes
    counts: tuple[int, int, int] | None = None
    error: str = ""
    fields: tuple[str, ...] = ()  # the fields at fault, in order of line
    options: dict[str, Any] = field(default_factory=dict)


HEAD = "user_id,item_id,event,timestamp,price\n"
A, B, C = "u1,i1,view,2024-01-01,1.5\n", "u2,i2,click,2024-01-02,2\n", "u3,i3,purchase,2024-01-03,\n"
ALL = HEAD + A + B + C
NOTE = "user_id,item_id,timestamp,note\n"
CHINESE = "用户,商品,行为,时间\n张三,苹果汁,购买,2024-01-01\n李四,绿茶,浏览,2024年1月2日\n"
LATIN = "user_id,item_id,timestamp\nJosé,café,2024-01-01\nu2,i2,2024-01-02\n"


def csv(*rows: str, head: str = HEAD) -> bytes:
    """A CSV of these rows."""
    return (head + "".join(f"{row}\n" for row in rows)).encode()


def jsonl(*rows: str) -> bytes:
    """These lines."""
    return "".join(f"{row}\n" for row in rows).encode()


def parquet(**columns: Any) -> bytes:
    """A Parquet file of these columns."""
    out = io.BytesIO()
    pl.DataFrame(columns).write_parquet(out)
    return out.getvalue()


def _row(**change: str) -> str:
    cells = {"user": "u1", "item": "i1", "event": "view", "time": "2024-01-01", "price": "1"} | change
    return ",".join(cells.values())


def _json(**change: str) -> str:
    cells = {"user_id": '"u1"', "item_id": '"i1"', "event": '"view"', "timestamp": "1700000000"} | change
    return "{" + ", ".join(f'"{name}": {value}' for name, value in cells.items()) + "}"


PARQUET = parquet(user_id=["a", "b"], item_id=[1, 2], timestamp=[1.7e9, 1.7e9 + 1])

ENCODINGS = [
    Odd("plain.csv", ALL.encode(), (3, 0, 0)),
    Odd("bom.csv", ALL.encode("utf-8-sig"), (3, 0, 0)),
    Odd("utf16-mark.csv", ALL.encode("utf-16"), (3, 0, 0)),
    Odd("utf16le.csv", ALL.encode("utf-16-le"), (3, 0, 0)),
    Odd("utf16be.csv", ALL.encode("utf-16-be"), (3, 0, 0)),
    Odd("utf16-odd-byte.csv", ALL.encode("utf-16")[:-1], error="not whole utf-16"),
    Odd("utf8-chinese.csv", CHINESE.encode(), (2, 0, 0)),
    Odd("gbk.csv", CHINESE.encode("gbk"), (2, 0, 0)),
    Odd("gb18030.csv", CHINESE.replace("苹果", "㐀苹").encode("gb18030"), (2, 0, 0)),
    Odd("gbk.jsonl", '{"用户":"张三","商品":"绿茶","时间":"2024-01-01"}\n'.encode("gbk"), (1, 0, 0)),
    Odd("latin1.csv", LATIN.encode("latin-1"), (1, 0, 1), fields=("",)),
    Odd("latin1-said.csv", LATIN.encode("latin-1"), (2, 0, 0), options={"encoding": "cp1252"}),
    Odd("one-bad-byte.csv", ALL.encode() + b"u\xff4,i4,view,2024-01-04,1\n", (3, 0, 1), fields=("",)),
    Odd("bad-byte.jsonl", b'{"user_id":"\xff"}\n' + jsonl(_json()), (1, 0, 1), fields=("",)),
    Odd(
        "bad-header.csv", b"\xffuser_id,item_id,timestamp\nu,i,2024-01-01\n", error="header of bad-header.csv"
    ),
    Odd("encoding-unknown.csv", ALL.encode(), error="unknown encoding", options={"encoding": "klingon"}),
]

SHAPES = [
    Odd("crlf.csv", ALL.replace("\n", "\r\n").encode(), (3, 0, 0)),
    Odd("old-mac.csv", ALL.replace("\n", "\r").encode(), (3, 0, 0)),
    Odd("no-last-newline.csv", ALL.encode().rstrip(), (3, 0, 0)),
    Odd("blank-lines.csv", ALL.replace("\n", "\n\n  \n").encode(), (3, 0, 0)),
    Odd("semicolon.csv", ALL.replace(",", ";").encode(), (3, 0, 0)),
    Odd("tab.txt", ALL.replace(",", "\t").encode(), (3, 0, 0)),
    Odd("pipe.csv", ALL.replace(",", "|").encode(), (3, 0, 0)),
    Odd("excel-sep.csv", b"sep=;\n" + ALL.replace(",", ";").encode(), (3, 0, 0)),
    Odd("spaces.csv", ALL.replace(",", " , ").encode(), (3, 0, 0)),
    Odd("wrong-extension.parquet", ALL.encode(), (3, 0, 0)),
    Odd("wrong-extension.csv", PARQUET, (2, 0, 0)),
    Odd("short-row.csv", csv(A.strip(), "u2,i2,view"), (1, 0, 1), fields=("",)),
    Odd("long-row.csv", csv(A.strip(), "u2,i2,view,2024-01-02,1,50"), (1, 0, 1), fields=("",)),
    Odd("trailing-commas.csv", csv(A.strip() + ",,", B.strip()), (2, 0, 0)),
    Odd("only-commas.csv", csv(A.strip(), ",,,,"), (1, 0, 1), fields=("user_id",)),
    Odd("trailing-header.csv", ALL.replace("\n", ",\n").encode(), (3, 0, 0)),
    Odd("quoted.csv", csv('"u,1","i""1",view,2024-01-01,1'), (1, 0, 0)),
    Odd("quote-over-lines.csv", csv('u,i,2024-01-01,"a\nb"', "u,j,2024-01-01,c", head=NOTE), (2, 0, 0)),
    Odd(
        "quotes-paired-wrongly.csv",
        csv('"u,i,2024-01-01,a', '"v,i,2024-01-01,b', "w,i,2024-01-01,c", head=NOTE),
        (1, 0, 1),
        fields=("user_id",),
    ),
    Odd("zeros.bin", bytes(200_000), error="is binary"),
    Odd("long-header.csv", b"x" * 200_000 + b"\n", error="lacks user_id, item_id, timestamp"),
    Odd("quote-open.csv", csv(A.strip(), '"u2,i2,view,2024-01-02,1', B.strip()), (2, 0, 1), fields=("",)),
    Odd("quote-open-last.csv", csv(A.strip(), 'u2,i2,view,2024-01-02,"1'), (1, 0, 1), fields=("",)),
    Odd("inch.csv", csv('u1,5" nail,view,2024-01-01,1', A.strip()), (2, 0, 0)),
    Odd(
        "same-header-twice.csv",
        b"user_id,item_id,item_id,timestamp\nu,i,j,2024-01-01\n",
        error="'item_id' twice",
    ),
    Odd("header-only.csv", HEAD.encode(), (0, 0, 0)),
    Odd(
        "no-header.csv", (A + B).encode(), error="lacks user_id, item_id, timestamp; its columns are: u1, i1"
    ),
    Odd("one-column.csv", b"user_id\nu1\n", error="lacks item_id, timestamp"),
    Odd("lacks-time.csv", b"user,item\nu1,i1\n", error="lacks timestamp; its columns are: user, item"),
    Odd("columns-in-capitals.csv", b"UserID,Product-ID,Event Time\nu1,i1,2024-01-01\n", (1, 0, 0)),
    Odd("empty.csv", b"", error="is empty"),
    Odd("blank.csv", b"\n \n\n", error="is empty"),
    Odd("mark-only.csv", b"\xef\xbb\xbf", error="is empty"),
    Odd("very-long-line.csv", b"user_id," + b"x" * (17 << 20), error="longer than 16 MB"),
    Odd("gzip.csv", gzip.compress(ALL.encode()), (3, 0, 0)),
    Odd("gzip-twice-joined.csv.gz", gzip.compress(ALL.encode()) + gzip.compress(csv(head=A)), (3, 1, 0)),
    Odd("gzip-cut.csv.gz", gzip.compress(ALL.encode() * 500)[:-30], error="damaged gzip file"),
    Odd("gzip-flipped.csv.gz", gzip.compress(ALL.encode())[:-6] + b"\0" * 6, error="damaged gzip file"),
    Odd("gzip-empty.gz", gzip.compress(b""), error="is empty"),
    Odd("workbook.xlsx", b"PK\x03\x04" + bytes(99), error="a zip archive or an Excel workbook"),
    Odd("paper.pdf", b"%PDF-1.7\n" + bytes(99), error="a PDF"),
    Odd("store.db", b"SQLite format 3\0" + bytes(99), error="a SQLite file"),
    Odd("packed.csv.zst", b"\x28\xb5\x2f\xfd" + bytes(range(99)), error="zstd-compressed"),
    Odd("junk.bin", bytes(range(256)) * 20, error="is binary"),
]

CELLS = [
    Odd("copies.csv", csv(A.strip(), A.strip(), B.strip()), (2, 1, 0)),
    Odd(
        "no-user.csv",
        csv(_row(user=""), _row(user="NaN"), _row(user=" null "), _row()),
        (1, 0, 3),
        fields=("user_id",) * 3,
    ),
    Odd(
        "event-unknown.csv", csv(_row(event="fly"), _row(event=""), _row()), (1, 0, 2), fields=("event",) * 2
    ),
    Odd(
        "event-aliases.csv", csv(_row(event="Add to Cart"), _row(event="BUY"), _row(event="浏览")), (3, 0, 0)
    ),
    Odd("numbers.csv", csv(*(_row(price=p) for p in ("$3.50", "2e3", "-4", "¥12", ""))), (5, 0, 0)),
    Odd(
        "not-numbers.csv",
        csv(*(_row(price=p) for p in ("inf", "-inf", "1e400", "cheap", "1e16", "1_000"))),
        (0, 0, 6),
        fields=("price",) * 6,
    ),
    Odd("nan-is-absent.csv", csv(_row(price="NaN"), _row(price="")), (1, 1, 0)),
    Odd("long-id.csv", csv(_row(user="x" * 10_000), _row(user="x" * 512)), (1, 0, 1), fields=("user_id",)),
    Odd("emoji-id.csv", csv(_row(user="🛒 Zoë O'Hara"), _row(user="user one")), (2, 0, 0)),
    Odd("nul.csv", csv(_row(user="u\x001"), _row()), (1, 0, 1), fields=("user_id",)),
    Odd("damaged-twice.csv", csv(_row(user="", time="soon", price="x")), (0, 0, 1), fields=("user_id",)),
    Odd("nul-price.csv", csv(_row(price="\x00")), (0, 0, 1), fields=("price",)),
    Odd("separators.csv", csv(_row(user="a\u2028b"), _row(user="a\x0bb"), _row(user="a\x85b")), (3, 0, 0)),
]

# fmt: off
TIMES = [
    Odd("epochs.csv", csv(*(_row(time=t) for t in ("1700000000", "1700000000000", "1700000000.0"))),
        (1, 2, 0)),
    Odd("micro-nano.csv", csv(_row(time="1700000000000000"), _row(time="1700000000000000000")), (1, 1, 0)),
    Odd("negative.csv", csv(_row(time="-86400"), _row(time="1969-12-31")), (1, 1, 0)),
    Odd("mixed-zones.csv", csv(*(_row(time=t) for t in (
        "2024-01-01T12:00:00Z", "2024-01-01T20:00:00+08:00", "2024-01-01 07:00:00-0500",
        "2024-01-01 12:00:00 UTC", "2024-01-01T12:00", "2024-01-01T17:30:00.000+05:30"))), (1, 5, 0)),
    Odd("days.csv", csv(*(_row(time=t) for t in (
        "2024-01-31", "20240131", "2024/1/31", "31.01.2024", "2024年1月31日", "31 Jan 2024", '"Jan 31, 2024"',
        "31/01/2024"))), (1, 7, 0), options={"columns": {}, "day_first": True}),
    Odd("day-or-month.csv", csv(_row(time="03/04/2024"), _row(time="05/06/2024")), (0, 0, 2),
        fields=("timestamp",) * 2),
    Odd("day-first-seen.csv", csv(_row(time="03/04/2024"), _row(time="25/04/2024")), (2, 0, 0)),
    Odd("month-first-said.csv", csv(_row(time="03/04/2024"), _row(time="25/04/2024")), (1, 0, 1),
        fields=("timestamp",), options={"day_first": False}),
    Odd("leap-day.csv", csv(_row(time="2024-02-29"), _row(time="2023-02-29"), _row(time="1900-02-29")),
        (1, 0, 2), fields=("timestamp",) * 2),
    Odd("leap-second.csv", csv(_row(time="2016-12-31T23:59:60Z"), _row(time="2017-01-01T00:00:00Z"),
        _row(time="2016-12-31T23:59:61Z")), (1, 1, 1), fields=("timestamp",)),
    Odd("spring-forward.csv", csv(_row(time="2024-03-31 02:30:00"), _row(time="2024-03-31 03:30:00")),
        (1, 0, 1), fields=("timestamp",), options={"timezone": "Europe/Berlin"}),
    Odd("autumn-back.csv", csv(_row(time="2024-10-27 02:30:00"), _row(time="2024-10-27T00:30:00Z")),
        (1, 1, 0), options={"timezone": "Europe/Berlin"}),
    Odd("not-times.csv", csv(*(_row(time=t) for t in (
        "", "soon", "inf", "1e400", "99999999999999999999999", "2024-13-01", "2024-01-01T25:00", "0000-00-00",
        "0001-01-01", "9999-12-31", "2024-01-01T12:00+99:00", "1/2/24", "12:30"))), (0, 0, 13),
        fields=("timestamp",) * 13),
    Odd("zone-unknown.csv", ALL.encode(), error="unknown time zone", options={"timezone": "Mars/Olympus"}),
]

JSON = [
    Odd("plain.jsonl", jsonl(_json(), _json(price="2")), (2, 0, 0)),
    Odd("bom.jsonl", b"\xef\xbb\xbf" + jsonl(_json()), (1, 0, 0)),
    Odd("utf16.jsonl", jsonl(_json()).decode().encode("utf-16"), (1, 0, 0)),
    Odd("gzip.jsonl.gz", gzip.compress(jsonl(_json())), (1, 0, 0)),
    Odd("array.json", b"[" + jsonl(_json()).strip() + b",\n 7]", (1, 0, 1), fields=("",)),
    Odd("array-cut.json", b'[{"user_id": "u1"},', error="JSON array that cannot be read"),
    Odd("pretty.json", b'{\n "events": [\n  {"user_id": "u"}\n ]\n}', error="one JSON object over 5 lines"),
    Odd("broken.jsonl", jsonl(_json(), '{"user_id": "u1", ', "null", "[1, 2]", '"text"', _json(price="3")),
        (2, 0, 4), fields=("",) * 4),
    Odd("nan.jsonl", jsonl(_json(price="NaN"), _json(price="Infinity"), _json(price="1e400"), _json()),
        (1, 0, 3), fields=("",) * 3),
    Odd("lone-surrogate.jsonl", jsonl(_json(user_id='"\\ud800"'), _json()), (1, 0, 1), fields=("",)),
    Odd("nul-escape.jsonl", jsonl(_json(user_id='"a\\u0000"'), _json()), (1, 0, 1), fields=("user_id",)),
    Odd("nested.jsonl", jsonl(_json(user_id='{"id": 1}'), _json(price="[1]"), _json(timestamp="{}"), _json()),
        (1, 0, 3), fields=("user_id", "price", "timestamp")),
    Odd("nested-all.jsonl", jsonl(_json(user_id='{"id": 1}')), (0, 0, 1), fields=("user_id",)),
    Odd("bool-id.jsonl", jsonl(_json(user_id="null"), _json(price="true")), (0, 0, 2),
        fields=("user_id", "price")),
    Odd("huge-id.jsonl", jsonl(_json(user_id="123456789012345678901234567890"), _json(user_id='"a"')),
        (1, 0, 1), fields=("user_id",)),
    Odd("number-ids.jsonl", jsonl(_json(user_id="5"), _json(user_id='"5"'), _json(user_id="5.0")), (1, 2, 0)),
    Odd("other-keys.jsonl", jsonl(_json(), '{"user_id": "u", "colour": "red"}', "{}"), (1, 0, 2),
        fields=("item_id", "user_id")),
    Odd("keys-of-another.jsonl", jsonl('{"a": 1}'),
        error="lacks user_id, item_id, timestamp; its columns are: a"),
    Odd("key-twice.jsonl", jsonl('{"user_id":"a","user_id":"b","item_id":"i","timestamp":1}'), (1, 0, 0)),
]

COLUMNS = [
    Odd("good.parquet", PARQUET, (2, 0, 0)),
    Odd("cut.parquet", PARQUET[:-20], error="damaged Parquet file"),
    Odd("head.parquet", PARQUET[:4], error="damaged Parquet file"),
    Odd("no-rows.parquet", parquet(user_id=[], item_id=[], timestamp=[]), (0, 0, 0)),
    Odd("nulls.parquet", parquet(user_id=["a", None], item_id=[None, "b"], timestamp=[1, 2]), (0, 0, 2),
        fields=("item_id", "user_id")),
    Odd("floats.parquet", parquet(user_id=[1.0, 1.5, float("nan")], item_id=[1, 1, 1],
        timestamp=[1.0, 2.0, 3.0]), (1, 0, 2), fields=("user_id",) * 2),
    Odd("float-times.parquet", parquet(user_id=["a"] * 4, item_id=["b"] * 4,
        timestamp=[1.7e9, float("nan"), float("inf"), 1e30]), (1, 0, 3), fields=("timestamp",) * 3),
    Odd("nested.parquet", parquet(user_id=[["a"]], item_id=[{"x": 1}], timestamp=[1]), (0, 0, 1),
        fields=("user_id",)),
    Odd("bytes.parquet", parquet(user_id=[b"a", b"\xff"], item_id=["i", "i"], timestamp=[1, 1]), (1, 0, 1),
        fields=("user_id",)),
    Odd("categories.parquet", parquet(user_id=pl.Series(["a", "b"], dtype=pl.Categorical), item_id=["i", "i"],
        timestamp=["2024-01-01", "2024-01-02"]), (2, 0, 0)),
    Odd("wrong-types.parquet", parquet(user_id=[True], item_id=["i"], timestamp=[1]), (0, 0, 1),
        fields=("user_id",)),
]

# fmt: on
CORPUS = ENCODINGS + SHAPES + CELLS + TIMES + JSON + COLUMNS
