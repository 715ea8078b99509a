"""A body of JSON lines, read as it comes: a few at a time, whatever its size."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from starlette.requests import ClientDisconnect, Request

from intently.serving.http.body import BODY_S
from intently.serving.http.problems import refuse

NDJSON: Final = ("application/x-ndjson", "application/jsonl", "application/ndjson")
MAX_LINE: Final = 65_536
GROUP: Final = 1000


def is_lines(request: Request) -> bool:
    """Whether the body says that it is JSON lines."""
    return request.headers.get("content-type", "").partition(";")[0].strip().lower() in NDJSON


async def lines_of(request: Request) -> AsyncIterator[list[bytes]]:
    """Groups of up to GROUP lines, without their ends; memory holds one group and one part of the body.

    Refuses a line of more than MAX_LINE bytes (413), a body that pauses for longer than BODY_S (408), one
    that is compressed (415) and one that ends early (400).
    """
    if request.headers.get("content-encoding", "identity").lower() != "identity":
        raise refuse(415, "compressed bodies are not read", "send it as it is")
    left = b""
    parts = request.stream().__aiter__()
    while (part := await _next(parts)) is not None:
        *lines, left = (left + part).split(b"\n")
        if len(left) > MAX_LINE or any(len(line) > MAX_LINE for line in lines):
            close = {"connection": "close"}
            raise refuse(413, f"a line may have {MAX_LINE:,} bytes at most", "send one event a line", close)
        for start in range(0, len(lines), GROUP):
            yield lines[start : start + GROUP]
    if left.strip():
        yield [left]


async def _next(parts: AsyncIterator[bytes]) -> bytes | None:
    try:
        async with asyncio.timeout(BODY_S):
            return await anext(parts, None)
    except TimeoutError:
        close = {"connection": "close"}
        raise refuse(408, f"nothing came for {BODY_S:g} s", "", close) from None
    except ClientDisconnect:
        raise refuse(400, "the body ended early") from None
