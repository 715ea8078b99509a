"""What this service says to the other services of its shop, and what it makes of what they say.

Users and items go by their ids: numbers are each service's own.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

import numpy as np
import orjson
import polars as pl

from intently.schema import BoolArray, DoubleArray, IntArray
from intently.serving.online.bandit import KEEP
from intently.serving.shapes.answers import Arm
from intently.serving.state.catalogue import REMOVED
from intently.serving.state.served import PAGE_S, Page

if TYPE_CHECKING:
    from intently.serving.state.engine import Engine

FIGURES_S: Final = 10.0


class Company:
    """Of one engine; the kinds of its messages stand in `_heard`."""

    def __init__(self, engine: Engine) -> None:
        self._engine, self._bus = engine, engine.bus
        self.figures: Callable[[], bytes] | None = None  # what /metrics says, of this service alone
        self._heard: dict[str, Callable[[Any], None]] = {
            "events": engine.ledger.look,
            "items": self._items,
            "users": self._users,
            "erased": self._forget,
            "answered": self._answered,
            "served": self._each(self._served),
            "explored": self._each(self._explored),
            "learned": self._each(self._learned),
            "model": lambda _: engine.live.refresh(),
        }

    def start(self) -> None:
        """Begin to speak and to listen."""
        if self._bus.alone:
            return
        engine = self._engine
        engine.ledger.wrote = lambda row: self._bus.tell("events", row)
        engine.online.learned = self.learned
        engine.pages.elsewhere = self._page
        self._bus.start(self.hear, self.missed, self._tick)

    def hear(self, kind: str, said: Any) -> None:
        """One message of another service; kinds of a later release are passed over."""
        heard = self._heard.get(kind)
        if heard is not None:
            heard(said)

    # -- saying -------------------------------------------------------------------------------

    def items(self, ids: list[str]) -> None:
        """The store holds something new of these items."""
        self._bus.tell_now("items", ids)

    def users(self, ids: list[str]) -> None:
        """The same of users."""
        self._bus.tell_now("users", ids)

    def erased(self, user_id: str, people: list[str]) -> bool:
        """A user was erased, with the guests they were; whether no service holds anything of them now."""
        everywhere = self._bus.tell_now("erased", user_id)
        self._bus.flush()  # what the others had still to say, they have said before they confirmed
        self._bus.forget(people, [f"page:{_digest(who)}:" for who in people], but="erased")
        return everywhere

    def served(self, who: str, numbers: IntArray, at_s: float) -> None:
        """A list was shown."""
        if not self._bus.alone:
            self._bus.gather("served", [who, self._names(numbers), at_s])

    def explored(self, user: int, arm: int, stood: int, at_s: float) -> None:
        """A slot was shown, see Explorer.shown."""
        if not self._bus.alone:
            ids, user_id = self._engine.memory.items.ids, self._engine.memory.users.ids[user]
            self._bus.gather("explored", [user_id, "" if arm == KEEP else ids[arm], ids[stood], at_s])

    def answered(self, who: str, answers: Mapping[int, bool | None]) -> None:
        """A newcomer's answers."""
        if not self._bus.alone:
            ids = self._engine.memory.items.ids
            self._bus.tell("answered", [who, {ids[number]: liked for number, liked in answers.items()}])

    def learned(self, table: DoubleArray, scores: DoubleArray, hit: BoolArray) -> None:
        """The online layer learned from a list."""
        self._bus.gather("learned", [self._engine.online.model, table, scores, hit])

    def swapped(self) -> None:
        """Another model is live."""
        self._bus.tell("model", None)

    def kept(self, name: str, page: Page) -> None:
        """The order that pages of an answer are cut from."""
        if not self._bus.alone:
            self._bus.keep(f"page:{_digest(page.who)}:{name}", lambda: self._worded(page), PAGE_S)

    def _tick(self) -> None:
        if self.figures is not None:
            self._bus.keep(f"figures:{self._bus.name}", self.figures, FIGURES_S)

    # -- hearing ------------------------------------------------------------------------------

    def _items(self, ids: list[str]) -> None:
        rows = {item_id: found for item_id in ids if (found := self._engine.store.item(item_id)) is not None}
        self._take(rows)

    def _take(self, rows: Mapping[str, Mapping[str, Any]]) -> None:
        """What the store says of items."""
        if rows:
            self._engine.catalogue.replace(rows)
        for item_id, attributes in rows.items():
            if REMOVED not in attributes:
                self._engine.newcomers.came(self._engine.memory.items.get(item_id))

    def _users(self, ids: list[str]) -> None:
        for user_id in ids:
            self._engine.profiles.changed(user_id)

    def _forget(self, user_id: str) -> None:
        self._engine.forget(user_id)
        self._bus.flush()

    @staticmethod
    def _each(hear: Callable[[Any], None]) -> Callable[[list[Any]], None]:
        """Takes in what was gathered."""

        def heard(many: list[Any]) -> None:
            for said in many:
                hear(said)

        return heard

    def _served(self, said: list[Any]) -> None:
        who, ids, at_s = said
        self._engine.served.note(who, self._engine.memory.items.add_all(ids), at_s)

    def _explored(self, said: list[Any]) -> None:
        user_id, arm, stood, at_s = said
        memory = self._engine.memory
        number = memory.items.add
        user = memory.users.get(user_id)
        if user >= 0:
            self._engine.online.explorer.shown(user, KEEP if not arm else number(arm), number(stood), at_s)

    def _answered(self, said: list[Any]) -> None:
        who, answers = said
        number = self._engine.memory.items.add
        self._engine.onboarding.note(who, {number(item_id): liked for item_id, liked in answers.items()})

    def _learned(self, said: list[Any]) -> None:
        model, table, scores, hit = said
        self._engine.online.learn_of_other(
            model, np.array(table, np.float64), np.array(scores, np.float64), np.array(hit, bool)
        )

    def missed(self) -> None:
        """Something may have been lost on the way here: all that others could have said is in the store."""
        engine = self._engine
        known = [user_id for user_id in list(engine.memory.users.ids) if user_id]  # before the store is read
        engine.ledger.look(engine.store.last_row())
        there = set(engine.store.users()["user_id"].to_list())
        for user_id in known:
            if user_id not in there:
                engine.forget(user_id)
        engine.profiles.changed_all()
        told, here = _rows(engine.store.items()), _rows(engine.catalogue.frame())
        self._take({item_id: row for item_id, row in told.items() if row != here.get(item_id)})
        engine.live.refresh()

    def _names(self, numbers: IntArray) -> list[str]:
        ids = self._engine.memory.items.ids
        return [ids[number] for number in numbers.tolist()]

    def _worded(self, page: Page) -> bytes:
        parts = [self._names(page.numbers), page.scores, page.sources, page.propensity]
        arm = [page.arm.name, page.arm.arm] if page.arm is not None else None
        return orjson.dumps([page.made_s, arm, *parts], option=orjson.OPT_SERIALIZE_NUMPY)

    def _page(self, name: str, who: str) -> Page | None:
        """An order that another service made for this person."""
        found = self._bus.find(f"page:{_digest(who)}:{name}")
        if found is None:
            return None
        made_s, arm, ids, scores, sources, propensity = orjson.loads(found)
        return Page(
            who,
            made_s,
            self._engine.memory.items.add_all(ids),
            np.array([np.nan if one is None else one for one in scores], np.float64),
            np.array(sources, np.uint8),
            np.array([np.nan if one is None else one for one in propensity], np.float64),
            Arm(*arm) if arm is not None else None,
        )


def _digest(who: str) -> str:
    return hashlib.blake2b(who.encode("utf-8", "surrogatepass"), digest_size=16).hexdigest()


def _rows(table: pl.DataFrame) -> dict[str, dict[str, Any]]:
    """Attributes by id, of items of which anything is said."""
    rows = {}
    for row in table.iter_rows(named=True):
        told = {name: value for name, value in row.items() if value is not None}
        item_id = told.pop("item_id")
        if told:
            rows[item_id] = told
    return rows
