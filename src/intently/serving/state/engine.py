"""What stands behind every answer, joined: live model, memory, clock, ledger.

Nothing here knows HTTP. The functions that answer are in `answer/`; each takes the engine, looks once at
`engine.live.current` and keeps that model until its answer is made.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from intently import __version__
from intently.config import Settings
from intently.schema import EVENT_CODES
from intently.serving.decisions.log import DecisionLog
from intently.serving.online.counting import Counting
from intently.serving.rules.rulebook import RuleBook
from intently.serving.state.bus import open_bus
from intently.serving.state.catalogue import Catalogue
from intently.serving.state.clock import ShopClock
from intently.serving.state.company import Company
from intently.serving.state.deeds import NOTHING, after, deeds
from intently.serving.state.experiments import Experiments
from intently.serving.state.guests import guest_id
from intently.serving.state.learned import Learned
from intently.serving.state.ledger import Ledger
from intently.serving.state.memory import Memory
from intently.serving.state.model import LiveModel, Standing
from intently.serving.state.newcomers import Newcomers
from intently.serving.state.onboarding import Onboarding
from intently.serving.state.pace import Pace
from intently.serving.state.profiles import Profiles
from intently.serving.state.readings import MOST_NAMED, Readings
from intently.serving.state.receipts import Receipts
from intently.serving.state.scenarios import scenarios_of
from intently.serving.state.served import Pages, Served
from intently.serving.state.view import View
from intently.store import EventStore, open_store

DEFAULT_HORIZON_DAYS = 28.0
CLICK = EVENT_CODES["click"]
NONE = np.zeros(0, np.int32)


class Engine:
    """Opens a shop's folder and answers from it until `close`.

    store: the shop's own, unless a replay looks at it as of an earlier moment.
    """

    def __init__(self, settings: Settings, store: EventStore | None = None) -> None:
        self.settings = settings
        self.store = store or open_store(settings.store_place)
        self.bus = open_bus(settings)  # before the store is read: what others write after that is heard
        self.ledger = Ledger(self.store)
        self.receipts = Receipts(settings.home / "receipts.db", self.bus)
        self.memory: Memory = self.ledger.memory
        self.clock = ShopClock(self.memory.end_s)
        self.catalogue = Catalogue(self.memory.items)
        self.catalogue.learn(self.store.items())
        self.live = LiveModel(settings.artifacts, self.catalogue, self.memory.items)
        self.learned = Learned(settings, self.memory, self.live, self.catalogue)
        self.online = self.learned.online
        self.counting = Counting(self.online.counters)
        self.ledger.afterwards = self.counting.brought
        self.profiles = Profiles(self.store)
        self.onboarding = Onboarding(self.memory, self.catalogue, self.profiles, self.store.users)
        self.newcomers = Newcomers(settings, self.catalogue, self.live)
        self.scenarios = scenarios_of(settings)
        self.experiments = Experiments(settings, self.scenarios)
        self.rules = RuleBook(settings.home / "rules.json")
        self.readings = Readings(max(settings.read_ahead, MOST_NAMED))
        self.pace = Pace()
        self.served = Served()
        self.pages = Pages(self.bus.secret)
        self.decisions = DecisionLog(
            settings.decisions_path,
            self.memory.items.ids,
            self.ledger.row,
            settings.decisions_days,
            settings.decisions_mb,
        )
        self.company = Company(self)
        self.started_s = time.time()

    def start(self) -> None:
        """Load the live model and begin to watch for a better one."""
        self.live.start()
        self.learned.aim()
        self.ledger.start()
        self.counting.start()
        self.decisions.start()
        self.newcomers.start()
        self.company.start()

    def close(self) -> None:
        """Let what was begun end: waiting events are written first."""
        self.newcomers.stop()
        self.live.stop()
        self.ledger.stop()
        self.counting.stop()
        self.bus.stop()
        self.decisions.stop()
        self.online.close()
        self.store.close()
        self.receipts.close()

    def forget(self, user_id: str) -> list[str]:
        """A user was erased: nothing of them is in any answer of this service from now on.

        Returns under which ids they were known: their own, and those of the guests they were.
        """
        self.ledger.catch_up()  # else what was written just before would come in after this
        user = self.memory.users.get(user_id)
        guests = [self.memory.users.ids[guest] for guest in self.memory.guests.were(user)]
        guests += self.memory.guests.sessions(user)  # whose lists may name the user, as in their arm
        self.memory.forget(user_id)
        self.profiles.changed(user_id)
        self.readings.forget(user)
        self.online.forget(user)
        self.onboarding.forget(user_id)
        self.served.forget(user_id)
        self.pages.forget(user_id)
        self.decisions.erase([user_id, *guests])
        return [user_id, *guests]

    # -- what an answer begins with ------------------------------------------------------------

    def ask(
        self,
        user_id: str | None,
        session_id: str | None = None,
        met: Sequence[str] = (),
        cart: Sequence[str] = (),
    ) -> View:
        """The view of one user or guest now.

        met, cart: item ids of this visit; those met count as clicks of this moment. Neither is stored.
        """
        memory, now_s = self.memory, self.clock.now()
        who = user_id if user_id is not None else guest_id(session_id) if session_id is not None else ""
        user = memory.guests.owner(memory.users.get(who)) if who else -1
        found = memory.of(who) if who else NOTHING
        if user_id is not None and session_id is not None:
            guest = memory.users.get(guest_id(session_id))
            if guest >= 0 and memory.guests.owner(guest) == guest:  # not signed in by any event yet
                found = after(found, memory.of(guest_id(session_id)))
        visit, laid, unknown = NONE, NONE, 0
        if met or cart:
            numbers = np.array([memory.items.get(name) for name in (*met, *cart)], np.int32)
            unknown = int((numbers < 0).sum())
            visit, laid = numbers[: len(met)], numbers[len(met) :]
            visit, laid = visit[visit >= 0], laid[laid >= 0]
        if len(visit):
            found = after(found, deeds([(item, now_s, CLICK) for item in visit.tolist()]))
        in_cart = memory.carts.of(user, now_s) if user >= 0 else NONE
        if len(laid):
            in_cart = np.union1d(in_cart, laid).astype(np.int32)
        last_s = float(found.time_s[-1]) if len(found.time_s) else now_s
        return View(self.live.current, who, user, found, visit, in_cart, max(now_s, last_s), unknown)

    def unit(self, view: View) -> str:
        """Whose arm of an experiment counts: the user that a guest turned out to be, else who asks."""
        memory = self.memory
        user = view.user if view.user >= 0 else memory.guests.named(view.who)
        return (memory.users.ids[user] if user >= 0 else "") or view.who  # "": erased since

    def event(self, standing: Standing | None) -> str:
        """What is predicted."""
        target = self.settings.target or "purchase"
        return str(standing.fact("target", target)) if standing else target

    def horizon_days(self, standing: Standing | None) -> float:
        """Within how many days."""
        asked = self.settings.horizon_days
        return float(standing.fact("horizon_days", asked)) if standing else asked

    def problems(self) -> list[str]:
        """Everything that is not as it should be, in words; empty when all is well."""
        found = []
        if self.live.current is None:
            found.append("no model is live: popular items are answered")
        if self.live.trouble:
            found.append(self.live.trouble)
        if self.ledger.trouble:
            found.append(self.ledger.trouble)
        if self.bus.trouble:
            found.append(self.bus.trouble)
        if self.newcomers.trouble:
            found.append(self.newcomers.trouble)
        if self.decisions.trouble:
            found.append(self.decisions.trouble)
        return found + self.online.problems() + self.rules.troubles()

    # -- what the page and health say -----------------------------------------------------------

    def status(self) -> dict[str, Any]:
        """The shop, its clock and its model, for the page's banner."""
        standing = self.live.current
        problems = self.problems()
        return {
            "version": __version__,
            "model_version": standing.artifact.version if standing else "",
            "model": standing.model.name if standing else "",
            "stage": stage(standing),
            "calibrated": bool(standing and standing.calibrated),
            "training": self.training(),
            "event": self.event(standing),
            "horizon_days": self.horizon_days(standing),
            "threshold": threshold(standing),
            "trained_at": standing.fact("created_at", "") if standing else "",
            "clock": {"now": self.clock.text(), "historic": self.clock.historic},
            "n_users": len(self.memory.users),
            "n_items": len(self.memory.items),
            "n_events": self.memory.n_events,
            "data_note": str(standing.fact("data_note", "")) if standing else "",
            "shop": str(standing.fact("shop", "")) if standing else "",
            "degraded": bool(problems),
            "problems": problems,
        }

    def training(self) -> dict[str, Any] | None:
        """What a training run beside the service says of itself, None when none runs."""
        return training_progress(self.settings.home / "training.json")


def stage(standing: Standing | None) -> str:
    """quick | full, as the manifest says; none without a model."""
    return "none" if standing is None else str(standing.fact("stage", "full"))


def threshold(standing: Standing | None) -> float:
    """The probability from which the decision is yes."""
    if standing is None:
        return 0.5
    return float(standing.fact("threshold", getattr(standing.model, "threshold", 0.5)))


def training_progress(path: Path) -> dict[str, Any] | None:
    """{done, of, step} that a training run of a living process wrote; anything else is None."""
    try:
        said = json.loads(path.read_text(encoding="utf-8"))
        done, of, step, pid = int(said["done"]), int(said["of"]), str(said["step"]), int(said["pid"])
    except (OSError, ValueError, KeyError, TypeError):
        return None
    return {"done": done, "of": of, "step": step[:120]} if alive(pid) else None


def alive(pid: int) -> bool:
    """Whether a process of this number runs; taken for granted where asking would end it (Windows)."""
    if os.name != "posix":
        return True
    try:
        os.kill(pid, 0)
    except PermissionError:
        return True
    except (OSError, OverflowError):
        return False
    return pid > 0
