"""The shop's rules and the request's, carried out on a draft: filters, then boosts, then caps, then pins.

Filters are bars, set before candidates are looked for, so that the list is filled behind them. Boosts move
the order of the candidates; told scores stay what the model says. Caps keep the best of each value, and the
list is filled behind those too. Pins come last; what a bar took out is not pinned either.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any, Final

import numpy as np

from intently.schema import BoolArray, IntArray
from intently.serving.answer import candidates
from intently.serving.answer.draft import CODE, Bar, Draft
from intently.serving.answer.fill import fill
from intently.serving.rules.filters import Shopper
from intently.serving.rules.force import Capping, Force, Pinning, with_request
from intently.serving.rules.places import boosted, kept, pinned
from intently.serving.state.engine import Engine
from intently.serving.state.view import View

ROUNDS: Final = 8
"""How often a capped list is filled again: each time with what no full cap holds back."""


def sift(engine: Engine, draft: Draft) -> None:
    """What the filters take out becomes bars. Raises FilterError for a request's that the catalogue lacks."""
    request, number = draft.request, engine.memory.items.get
    frame = engine.catalogue.frame
    force = draft.force  # of a dry run
    if force is None:
        force = engine.rules.force(draft.scenario.name, engine.clock.now(), frame, number)
    if request.filter is not None or request.boosts or request.pins:
        own = force if force is not None else Force(frame())
        force = with_request(own, request.filter, request.boosts, request.pins, number)
    if force is None:
        return
    draft.force, draft.shopper = force, shopper_of(engine, draft.view)
    draft.allowed[force.frame.height :] = False  # what came since waits for the next answer
    for one in force.fixed:
        draft.bars.append(Bar(one.stage, one.reason, mask=one.mask))
    if force.open is not None:
        draft.allowed[: len(force.open)] &= force.open[: len(draft.allowed)]
    for sifting in force.sifting:
        varying = sifting.barring(force.frame, draft.shopper)
        draft.bar(Bar(varying.stage, varying.reason, mask=varying.mask))


def boost(draft: Draft) -> None:
    """Candidates in the order that the boosts give them."""
    if draft.force is None or not len(draft):
        return
    weights = draft.force.weights(draft.shopper, draft.numbers)
    if weights is not None:
        draft.reorder(boosted(draft.scores, draft.sources, *weights))


def settle(engine: Engine, draft: Draft) -> None:
    """Caps, and filling behind them, then pins."""
    force = draft.force
    if force is None:
        return
    pins = force.pins(draft.shopper, draft.allowed)
    if force.capping:
        _cap(engine, draft, force.capping, pins)
    if pins:
        _pin(draft, pins)


def room(draft: Draft, numbers: IntArray) -> BoolArray:
    """Which of these items no cap keeps from coming into the list as it stands now."""
    free: BoolArray = np.ones(len(numbers), bool)
    for cap in draft.force.capping if draft.force is not None else ():
        there = cap.codes[draft.numbers]
        counts = np.bincount(there[there >= 0], minlength=int(cap.codes.max(initial=-1)) + 2)
        codes = cap.codes[numbers]
        free &= (counts[codes] < cap.most) | (codes < 0)
    return free


def shopper_of(engine: Engine, view: View) -> Shopper:
    """Who asks, as filters see them."""
    done = view.deeds
    return Shopper(view.at_s, Profile(engine, view), done.items, done.time_s, done.events, view.cart)


class Profile(Mapping[str, Any]):
    """A user's attributes, read when one is asked for: most filters ask for none.

    What the shop says now; what it said at the last training where that is all there is.
    """

    def __init__(self, engine: Engine, view: View) -> None:
        self._engine, self._view = engine, view
        self._known: Mapping[str, Any] | None = None

    def __getitem__(self, name: str) -> Any:
        return self._all()[name]

    def __iter__(self) -> Iterator[str]:
        return iter(self._all())

    def __len__(self) -> int:
        return len(self._all())

    def _all(self) -> Mapping[str, Any]:
        if self._known is None:
            who, standing = self._view.who, self._view.standing
            self._known = self._engine.profiles.of(who) if who else {}
            dense = standing.artifact.users.get(who) if standing and who and not self._known else -1
            if standing is not None and dense >= 0:
                self._known = standing.artifact.user_table.row(dense, named=True)
        return self._known


def _cap(engine: Engine, draft: Draft, caps: list[Capping], pins: list[Pinning]) -> None:
    """The best of each value; what is pinned takes its places first, and is never taken out."""
    held = np.array([pin.number for pin in pins], np.int32)
    allowed, before = draft.allowed, -1
    for _ in range(ROUNDS):
        for cap in caps:
            _trim(draft, cap, held)
        if len(draft) >= draft.n or len(draft) == before:
            break
        before, draft.allowed = len(draft), allowed.copy()
        for cap in caps:
            draft.allowed &= ~_full(draft, cap, held)
        if draft.scenario.fill or draft.scenario.first == "model":
            candidates.by_model(draft, draft.judged)
        fill(engine, draft)
    draft.allowed = allowed
    if before >= 0:  # each further round looks at the same barred items
        draft.dropped = list(dict.fromkeys(draft.dropped))


def _trim(draft: Draft, cap: Capping, held: IntArray) -> None:
    codes = cap.codes.take(draft.numbers)
    for number in held.tolist():
        codes[draft.numbers == number] = -1
    draft.drop(~kept(codes, cap.most, cap.codes[held]), cap.stage)


def _full(draft: Draft, cap: Capping, held: IntArray) -> BoolArray:
    """(n_items,) by item number: whether it has a value of which the list holds all that it may."""
    there = cap.codes[np.union1d(draft.numbers, held)]
    counts = np.bincount(there[there >= 0], minlength=int(cap.codes.max(initial=-1)) + 2)
    full: BoolArray = np.zeros(len(draft.allowed), bool)
    full[: len(cap.codes)] = (counts[cap.codes] >= cap.most) & (cap.codes >= 0)
    return full


def _pin(draft: Draft, pins: list[Pinning]) -> None:
    at = [np.flatnonzero(draft.numbers == pin.number) for pin in pins]
    absent = np.array([pin.number for pin, place in zip(pins, at, strict=True) if not len(place)], np.int32)
    if len(absent):
        draft.extend(absent, candidates.scored(absent, draft.judged), "pin")
        at = [np.flatnonzero(draft.numbers == pin.number) for pin in pins]
    places = [int(place[0]) for place in at]
    draft.sources[places] = CODE["pin"]
    slots = [(place, pin.slot) for place, pin in zip(places, pins, strict=True)]
    draft.reorder(pinned(len(draft), slots))
