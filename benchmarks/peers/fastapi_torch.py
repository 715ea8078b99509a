"""What a good engineer writes in an afternoon: FastAPI with its own encoding, and the model in eager torch.

    python benchmarks/peers/fastapi_torch.py --home FOLDER [--port 0]

The same published sequence model as ours, the same histories: GET /recommend/{user}?n=20 reads the whole
history with torch, multiplies with all items and answers the best as pydantic models. One worker, one thread.
Nothing is stored, logged, filtered or explained. Prints "answers at ADDRESS" once it listens.
"""

from __future__ import annotations

import argparse
import socket
import sys
from pathlib import Path

import numpy as np
import torch
import uvicorn
from fastapi import FastAPI
from pydantic import BaseModel

from intently import artifact
from intently.data import Dataset
from intently.models.sequence import Sequence
from intently.nn.layers import Encoder
from intently.store import SqliteStore


class Item(BaseModel):
    """One recommended item."""

    item_id: str
    title: str
    score: float
    rank: int


class Answer(BaseModel):
    """A list."""

    user_id: str
    model_version: str
    items: list[Item]


class Peer:
    """The model in torch, and every user's history."""

    def __init__(self, home: Path) -> None:
        folder = artifact.live(home / "artifacts")
        if folder is None:
            raise SystemExit("no model is live")
        self.made = artifact.load(folder)
        model = self.made.model
        if not isinstance(model, Sequence):
            raise SystemExit(f"the live model is {model.name!r}, not 'sequence'")
        self.model, self.titles = model, self.made.item_table["title"].fill_null("").to_list()
        self.encoder = Encoder(model.d, model.blocks, model.heads, model.max_length, 0.0)
        self.encoder.load_state_dict({name: torch.from_numpy(w) for name, w in model.weights.items()})
        self.encoder.eval()
        self.table = torch.from_numpy(model.table)
        with SqliteStore(home / "store.db") as store:
            shop = Dataset.from_store(store)
        histories = shop.histories()
        place = {self.made.items[dense]: row for row, dense in enumerate(model.vocabulary.tolist())}
        self.columns = {
            user: [place[shop.items[i]] for i in histories.items[start:stop].tolist()][-model.max_length :]
            for user, start, stop in zip(
                shop.users.ids, histories.indptr[:-1].tolist(), histories.indptr[1:].tolist(), strict=True
            )
        }

    @torch.inference_mode()
    def answer(self, user_id: str, n: int) -> Answer:
        """Encode, score all items, take the best."""
        columns = torch.tensor(self.columns[user_id])
        tokens = self.table[columns] * self.model.d**0.5
        last = self.encoder(tokens, [(1, len(columns))])[-1]
        scores = self.table @ (last / last.norm()) * float(self.model.scale[0])
        scores[columns] = -torch.inf
        best = scores.topk(n)
        return Answer(
            user_id=user_id,
            model_version=self.made.version,
            items=[
                Item(item_id=self.made.items[dense], title=self.titles[dense], score=score, rank=rank)
                for rank, (dense, score) in enumerate(
                    zip(
                        self.model.vocabulary[best.indices.numpy()].tolist(),
                        np.round(best.values.numpy(), 6).tolist(),
                        strict=True,
                    ),
                    1,
                )
            ],
        )


def main() -> None:
    """Serve until stopped."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").split("\n")[0])
    parser.add_argument("--home", type=Path, required=True)
    parser.add_argument("--port", type=int, default=0)
    asked = parser.parse_args()
    torch.set_num_threads(1)
    peer, app = Peer(asked.home), FastAPI()

    @app.get("/recommend/{user_id}")
    def recommend(user_id: str, n: int = 20) -> Answer:
        return peer.answer(user_id, n)

    listener = socket.create_server(("127.0.0.1", asked.port))
    sys.stdout.write(f"answers at http://127.0.0.1:{listener.getsockname()[1]}\n")
    sys.stdout.flush()
    uvicorn.Server(uvicorn.Config(app, log_level="warning", access_log=False)).run(sockets=[listener])


if __name__ == "__main__":
    main()
