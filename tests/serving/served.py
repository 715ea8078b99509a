"""Real shops behind a real server: a process of its own, asked over a real socket."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import httpx
import polars as pl

from intently import artifact
from intently.data import Dataset
from intently.models import Recommender
from intently.models.boosted import Boosted
from intently.models.repeat import Repeat
from intently.schema import EVENTS
from intently.store import SqliteStore
from tiny_shops import weekly_basket

FACTS: dict[str, Any] = {
    "target": "purchase",
    "horizon_days": 7.0,
    "threshold": 0.5,
    "data_note": "made up for a test",
}
RUN = "import sys; sys.argv[0] = 'intently'; from intently.cli import main; main()"


def grocery() -> Dataset:
    """30 users, 20 weeks in 2024: the log is finished, so the shop's clock stands at its end."""
    shop = weekly_basket()
    titles = [f"Thing number {i}" for i in range(shop.n_items)]
    table = shop.item_table.with_columns(title=pl.Series(titles), category=pl.lit("Things"))
    people = shop.user_table.with_columns(age=pl.lit("45-54"))
    return Dataset(shop.events, shop.users, shop.items, table, people)


def boosted(shop: Dataset) -> Recommender:
    """A calibrated model, in a second."""
    inner = {"repeat": {"half_life_days": 60.0}}
    return Boosted(inner=inner, horizon_days=7.0, cuts=2, n_new=5, rounds=30).fit(shop)


def repeat(shop: Dataset) -> Recommender:
    """A model whose scores are only an order."""
    return Repeat(half_life_days=60.0).fit(shop)


def keep(home: Path, shop: Dataset) -> None:
    """Put the shop's events into the store of `home`."""
    ids = {"user_id": shop.users.names(shop.events["user"]), "item_id": shop.items.names(shop.events["item"])}
    names = [EVENTS[code] for code in shop.events["event"]]
    rows = pl.DataFrame(ids | {"event": names, "time_s": shop.events["time_s"]})
    with SqliteStore(home / "store.db") as store:
        store.add_events(rows)


def publish(home: Path, shop: Dataset, model: Recommender, stage: str = "full") -> Path:
    """Publish and promote."""
    folder = artifact.publish(home / "artifacts", model, shop, FACTS | {"stage": stage}, "# a test's model\n")
    artifact.promote(home / "artifacts", folder.name)
    return folder


@dataclass
class Running:
    """A service that answers at `address`."""

    process: subprocess.Popen[str]
    address: str
    client: httpx.Client

    @property
    def port(self) -> int:
        return int(self.address.rpartition(":")[2])

    def ask(self, **body: Any) -> dict[str, Any]:
        """A list, as POST /v1/recommendations answers."""
        answer = self.client.post("/v1/recommendations", json=body)
        assert answer.status_code == 200, answer.text
        return dict(answer.json())

    def recommend(self, user_id: str, n: int = 5, **more: Any) -> dict[str, Any]:
        return self.ask(user_id=user_id, n=n, **more)

    def ids(self, user_id: str, n: int = 5) -> list[str]:
        return [item["item_id"] for item in self.recommend(user_id, n)["items"]]

    def kill(self) -> None:
        os.kill(self.process.pid, signal.SIGKILL)
        self.process.wait(10)


@contextmanager
def running(home: Path, *options: str, env: Mapping[str, str] | None = None) -> Iterator[Running]:
    """`intently serve` on a free port; ended with SIGTERM, which must be clean."""
    command = [sys.executable, "-c", RUN, "serve", "--home", str(home), "--port", "0", *options]
    log = (home / "serve.log").open("a")
    process = subprocess.Popen(
        command, stdout=subprocess.PIPE, stderr=log, text=True, env={**os.environ, **(env or {})}
    )
    assert process.stdout is not None
    try:
        line = process.stdout.readline()
        assert "answers at " in line, (line, (home / "serve.log").read_text())
        address = line.partition("answers at ")[2].split()[0]
        with httpx.Client(base_url=address, timeout=60, trust_env=False) as client:
            yield Running(process, address, client)
        if process.poll() is None:
            process.terminate()
            assert process.wait(60) == 0
    finally:
        if process.poll() is None:
            process.kill()
            process.wait(10)
        process.stdout.close()
        log.close()
