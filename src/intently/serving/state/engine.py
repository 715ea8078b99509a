"""What stands behind every answer, joined: live model, memory, clock, ledger.

Nothing here knows HTTP. The functions that answer are in `recommend`, `predict` and `people`; each takes
the engine, looks once at `engine.live.current` and keeps that model until its answer is made.
"""

from __future__ import annotations

import json
import os
import time
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from intently import __version__
from intently.config import Settings
from intently.data import Histories
from intently.schema import EVENT_CODES
from intently.serving.state.clock import ShopClock
from intently.serving.state.ledger import Ledger
from intently.serving.state.memory import Deeds, Late, Memory, after, deeds
from intently.serving.state.model import LiveModel, Standing
from intently.store import SqliteStore

DEFAULT_HORIZON_DAYS = 28.0


@dataclass(frozen=True, slots=True)
class Asked:
    """One request's view: the model it began with, and what the user did by now."""

    standing: Standing | None
    deeds: Deeds
    at_s: float
    unknown: int  # items of the context that nobody knows

    def history(self, standing: Standing) -> Histories:
        """The batch of one that a model sees: items it knows, oldest first."""
        items = standing.dense(self.deeds.items)
        seen = items >= 0
        kept = items[seen]
        return Histories(
            np.array([0, len(kept)], np.int64),
            kept,
            self.deeds.time_s[seen],
            self.deeds.events[seen],
            np.full(1, -1, np.int32),
            np.full(1, self.at_s, np.float64),
        )


class Engine:
    """Opens a shop's folder and answers from it until `close`."""

    def __init__(self, settings: Settings) -> None:
        self.settings = settings
        self.store = SqliteStore(settings.store_path)
        self.ledger = Ledger(self.store)
        self.memory: Memory = self.ledger.memory
        self.clock = ShopClock(self.memory.end_s)
        self.live = LiveModel(settings.artifacts, self.memory.items)
        self.started_s = time.time()

    def start(self) -> None:
        """Load the live model and begin to watch for a better one."""
        self.live.start()
        self.ledger.start()

    def close(self) -> None:
        """Let what was begun end: waiting events are written first."""
        self.live.stop()
        self.ledger.stop()
        self.store.close()

    # -- what an answer begins with ------------------------------------------------------------

    def ask(self, user_id: str | None, context_item_ids: list[str] | None = None) -> Asked:
        """The view of one user now; the context counts as clicks of this moment, and is not stored."""
        found = deeds([]) if user_id is None else self.memory.of(user_id)
        now_s = self.clock.now()
        standing = self.live.current
        known = [self._number(name, standing) for name in context_item_ids or ()]
        late = [Late(item, now_s, EVENT_CODES["click"]) for item in known if item >= 0]
        if late:
            found = after(found, deeds(late))
        last_s = float(found.time_s[-1]) if len(found.time_s) else now_s
        return Asked(standing, found, max(now_s, last_s), len(known) - len(late))

    def _number(self, item_id: str, standing: Standing | None) -> int:
        """The memory's number of an item of the log or of the catalogue; -1 for any other name."""
        number = self.memory.items.get(item_id)
        if number < 0 and standing is not None and item_id in standing.artifact.items:
            number = self.memory.items.add(item_id)
        return number

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
        return found

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
