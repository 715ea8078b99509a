"""Who is there and what they did: for the page's chooser and its history."""

from __future__ import annotations

from intently.schema import EVENTS
from intently.serving.shapes.people import Deed, History, HistoryQuery, UserLine, UserQuery, Users
from intently.serving.state.clock import rfc3339
from intently.serving.state.engine import Engine

MAX_ATTRIBUTES = 8


def users(engine: Engine, asked: UserQuery) -> Users:
    """A page of users whose id holds the query."""
    memory = engine.memory
    found, total = memory.find(asked.query.strip(), asked.start, asked.n)
    lines = [UserLine(memory.users.ids[number], memory.count(number)) for number in found]
    return Users(lines, total, asked.start)


def history(engine: Engine, asked: HistoryQuery) -> History:
    """A user's latest events, newest first; a stranger's is empty."""
    memory = engine.memory
    done = memory.of(asked.user_id)
    latest = slice(None, -asked.n - 1, -1)
    events = [
        _deed(engine, item, event, time_s)
        for item, time_s, event in zip(
            done.items[latest].tolist(),
            done.time_s[latest].tolist(),
            done.events[latest].tolist(),
            strict=True,
        )
    ]
    known = memory.users.get(asked.user_id) >= 0
    return History(asked.user_id, known, len(done.items), _attributes(engine, asked.user_id), events)


def _deed(engine: Engine, item: int, event: int, time_s: float) -> Deed:
    catalogue = engine.catalogue
    words = catalogue.title(item), catalogue.category(item)
    return Deed(engine.memory.items.ids[item], *words, EVENTS[event], rfc3339(time_s))


def _attributes(engine: Engine, user_id: str) -> dict[str, str]:
    """What the shop says of a user, as text; what it said at the last training where that is all there is."""
    standing, known = engine.live.current, engine.profiles.of(user_id)
    dense = standing.artifact.users.get(user_id) if standing and not known else -1
    if standing is not None and dense >= 0:
        known = standing.artifact.user_table.row(dense, named=True)
    told = {name: str(value) for name, value in known.items() if name != "user_id" and value is not None}
    return {name: value[:80] for name, value in list(told.items())[:MAX_ATTRIBUTES]}
