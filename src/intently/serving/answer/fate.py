"""What became of one item in one answer: the stage at which it left, in plain words and a code."""

from __future__ import annotations

from typing import Final, Protocol

import numpy as np

from intently.serving.answer.reasons import finite
from intently.serving.decisions.record import Barred, Logged
from intently.serving.shapes.decisions import TakenOut, Verdict
from intently.serving.state.engine import Engine
from intently.serving.state.view import View

WORDS: Final = {
    "removed": "was taken out of the shop",
    "excluded": "is in exclude_ids of the request",
    "cart": "lies in the cart",
    "context": "is what was asked about",
    "met": "was met before, and this model does not repeat",
    "bought": "was bought before, and this scenario does not repeat",
    "served": "was shown too lately",
    "filter": "does not pass the filter of the request",
}
RULE: Final = "rule"


class _Verdict(Protocol):
    """Makes the verdict of the item that was asked about."""

    def __call__(
        self, code: str, text: str, rank: int | None = None, score: float | None = None
    ) -> Verdict: ...


def outcome(engine: Engine, pages: list[Logged], ids: list[str], item_id: str, view: View | None) -> Verdict:
    """Of an item that was asked about."""
    first = pages[0]
    number = ids.index(item_id) if item_id in ids else -1
    now = engine.memory.items.get(item_id)
    title = engine.catalogue.title(now) if now >= 0 else ""
    last = [page.scores[page.shown - 1] for page in pages if page.shown]

    def verdict(code: str, text: str, rank: int | None = None, score: float | None = None) -> Verdict:
        kind = RULE if code.startswith("rule") else code
        return Verdict(item_id, title, kind, text, code, rank, score, finite(last[-1]) if last else None)

    if number < 0:
        return verdict("unknown_item", "nobody knew this item then: it was in no event and no catalogue")
    places = np.flatnonzero(first.numbers == number)
    if len(places):
        return _ranked(first, pages, int(places[0]), verdict)
    taken = [(bar.stage, bar.reason) for bar in first.bars if _holds(bar, number)]
    taken += [(stage, "") for one, stage in first.dropped if one == number]
    if taken:
        return verdict(taken[0][0], _words(*taken[0]))
    rank, score = _by_model(view, now)
    if score is None:
        return verdict("not_a_candidate", "no part of the shop named it: the model gives it no score here")
    text = f"the model ranks it {_ordinal(rank)} of all items: too far behind to become a candidate"
    return verdict("not_a_candidate", text, rank, score)


def stages(one: Logged) -> list[TakenOut]:
    """What each stage took out, in the order of the stages."""
    candidates: dict[str, int] = {}
    for _number, stage in one.dropped:
        candidates[stage] = candidates.get(stage, 0) + 1
    out = {}
    for bar in one.bars:
        items = len(bar.numbers) if bar.numbers is not None else None
        items = int(bar.mask.sum()) if bar.mask is not None else items
        out[bar.stage] = TakenOut(
            bar.stage, _words(bar.stage, bar.reason), candidates.get(bar.stage, 0), items
        )
    for stage, n in candidates.items():
        out.setdefault(stage, TakenOut(stage, _words(stage, ""), n, n))
    return list(out.values())


def _ranked(first: Logged, pages: list[Logged], place: int, verdict: _Verdict) -> Verdict:
    """Of a candidate: shown on some page, or behind the last one."""
    score = finite(first.scores[place])
    for page in pages:
        if page.start <= place < page.start + page.shown:
            return verdict("shown", f"was shown as number {place + 1}", place + 1, score)
    shown = max(page.start + page.shown for page in pages)
    text = f"was {_ordinal(place + 1)} of {len(first.numbers)} candidates, and {shown} were shown"
    return verdict("ranked_below", text, place + 1, score)


def _by_model(view: View | None, number: int) -> tuple[int, float | None]:
    """Rank from 1 among all that the model scores, and the score; (0, None) where it gives none."""
    if view is None or view.standing is None or number < 0:
        return 0, None
    dense = int(view.standing.dense(np.array([number], np.int32))[0])
    if dense < 0:
        return 0, None
    scores = view.standing.model.scores(view.history(view.standing))[0]
    if not np.isfinite(scores[dense]):
        return 0, None
    return int((scores > scores[dense]).sum()) + 1, finite(float(scores[dense]))


def _holds(bar: Barred, number: int) -> bool:
    if bar.numbers is not None:
        return bool((bar.numbers == number).any())
    return bar.mask is not None and number < len(bar.mask) and bool(bar.mask[number])


def _words(stage: str, reason: str) -> str:
    if stage.startswith("rule:"):
        return f"the shop's rule {stage.removeprefix('rule:')!r} took it out" + (
            f": {reason}" if reason else ""
        )
    return reason or WORDS.get(stage, stage)


def _ordinal(n: int) -> str:
    """
    >>> [_ordinal(n) for n in (1, 2, 3, 4, 11, 22, 113)]
    ['1st', '2nd', '3rd', '4th', '11th', '22nd', '113th']
    """
    ending = "th" if 10 <= n % 100 <= 20 else {1: "st", 2: "nd", 3: "rd"}.get(n % 10, "th")
    return f"{n}{ending}"
