"""Text files: which encoding, which lines.

The whole file is looked through once before any row is used, so that a wrong guess, a cut-off gzip
or a stray binary is an error at the start and not a surprise half-way.
"""

from __future__ import annotations

import codecs
import io
import zlib
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Final

from intently.data.readers_base import raw_stream
from intently.errors import InputError

_BLOCK: Final = 8 << 20
_LONGEST: Final = 16 << 20
_ENOUGH: Final = 100_000  # bytes beyond ASCII that show whether a text is Chinese
_BOMS: Final = (
    (codecs.BOM_UTF8, "utf-8-sig"),
    (codecs.BOM_UTF32_LE, "utf-32"),
    (codecs.BOM_UTF32_BE, "utf-32"),
    (codecs.BOM_UTF16_LE, "utf-16"),
    (codecs.BOM_UTF16_BE, "utf-16"),
)
_CONTROL: Final = frozenset(range(32)) - {9, 10, 11, 12, 13, 27}

Block = tuple[int, list[str], float]
"""(number of the first line, lines without their ends, bytes of the file read)."""


def guess_encoding(head: bytes, name: str) -> str:
    """What the first bytes say: a byte-order mark, or UTF-16 without one; '' when they do not.

    Raises InputError for bytes that are no text.
    """
    found = _bom(head) or _wide(head)
    if not found and sum(byte in _CONTROL for byte in head) > max(32, len(head) // 50):
        raise InputError(f"{name} is binary, not a table", hint="CSV, JSONL and Parquet are read")
    return found


def text_blocks(path: Path, encoding: str) -> Iterator[Block]:
    """The file's lines in blocks of about 8 MB; \\n, \\r\\n and \\r end a line.

    Bytes that are not of the encoding arrive as lone surrogates; `sound` finds such lines.
    """
    stream, position = raw_stream(path)
    errors = "surrogatepass" if encoding.startswith("utf-16") else "surrogateescape"
    number, tail = 1, ""
    with stream, io.TextIOWrapper(stream, encoding=encoding, errors=errors, newline=None) as text:
        while chunk := text.read(_BLOCK):
            lines = (tail + chunk).split("\n")
            tail = lines.pop()
            if len(tail) > _LONGEST:
                raise InputError(f"line {number + len(lines)} of {path.name} is longer than 16 MB: no table")
            if tail and len(chunk) < _BLOCK:  # the end: a last line without its newline
                lines, tail = [*lines, tail], ""
            if lines:
                yield number, lines, float(position())
                number += len(lines)
    if tail:
        yield number, [tail], float(path.stat().st_size)


def sound(line: str) -> bool:
    """Whether a line was decoded without loss."""
    if line.isascii():
        return True
    try:
        line.encode()
    except UnicodeEncodeError:
        return False
    return True


def check_encoding(encoding: str) -> str:
    """Python's name of an encoding; raises InputError for one it does not know."""
    try:
        info = codecs.lookup(encoding)
        "".encode(info.name)  # a text encoding, not rot13 or zlib
    except (LookupError, TypeError, ValueError) as error:
        hint = "for example utf-8, gb18030, cp1252"
        raise InputError(f"unknown encoding {encoding[:40]!r}", hint=hint, field="encoding") from error
    return info.name


def _bom(head: bytes) -> str:
    return next((name for bom, name in _BOMS if head.startswith(bom)), "")


def _wide(head: bytes) -> str:
    """UTF-16 without its mark: every other byte of ASCII is zero."""
    sample = head[: len(head) // 2 * 2][:4096]
    if len(sample) < 4 or not sample.count(0):
        return ""
    even, odd = sample[::2].count(0), sample[1::2].count(0)
    half = len(sample) // 2
    if odd > 0.4 * half and even < 0.05 * half:
        return "utf-16-le"
    return "utf-16-be" if even > 0.4 * half and odd < 0.05 * half else ""


def verified_encoding(path: Path, encoding: str) -> str:
    """The encoding that the whole file agrees with.

    Without a hint: UTF-8 when all of it is; else GB18030 when all of it is and nearly every pair
    lies where Chinese text does; else UTF-8, and the lines that break it become rejects.
    """
    if encoding.startswith(("utf-16", "utf-32")):
        fault = _fault(path, encoding, lambda _: None)
        if fault:
            raise InputError(f"{path.name} is not whole {encoding}: {fault}", hint="it may be cut off")
        return encoding
    if encoding:
        _fault(path, encoding, lambda _: None)  # a damaged gzip is found now
        return encoding
    if not _fault(path, "utf-8", lambda _: None):
        return "utf-8"
    pairs = {"hanzi": 0, "other": 0}

    def weigh(text: str) -> None:
        if pairs["hanzi"] + pairs["other"] > _ENOUGH:
            return
        for raw in text.encode("gb18030").split(b"\n"):
            high = [byte for byte in raw if byte >= 0x80]
            pairs["hanzi"] += sum(byte >= 0xA1 for byte in high)
            pairs["other"] += sum(byte < 0xA1 for byte in high) + _mixed(raw)

    if not _fault(path, "gb18030", weigh) and pairs["hanzi"] > 9 * pairs["other"]:
        return "gb18030"
    return "utf-8"


def _mixed(raw: bytes) -> int:
    """Two-byte characters whose second byte is ASCII: common in Latin text misread, rare in Chinese."""
    count = position = 0
    while position < len(raw):
        if raw[position] < 0x80:
            position += 1
            continue
        second = raw[position + 1] if position + 1 < len(raw) else 0
        count += second < 0x80
        position += 2
    return count


def _fault(path: Path, encoding: str, each: Callable[[str], None]) -> str:
    """'' when every byte of the file decodes, else what does not; InputError for a damaged gzip."""
    decoder = codecs.getincrementaldecoder(encoding)()
    try:
        stream, _ = raw_stream(path)
        with stream:
            while chunk := stream.read(1 << 20):
                each(decoder.decode(chunk))
            decoder.decode(b"", final=True)
    except UnicodeDecodeError as error:
        return str(error.reason)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(
            f"{path.name} is a damaged gzip file: {error}", hint="it may be cut off; nothing was stored"
        ) from error
    return ""
