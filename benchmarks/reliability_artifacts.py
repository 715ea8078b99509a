"""Does a shop ever stand without a model? Publishing is killed, artifacts are damaged, models are swapped.

    python benchmarks/reliability_artifacts.py                       # a made-up grocery, some minutes
    python benchmarks/reliability_artifacts.py --home shop           # a copy of a real shop's folder

Against `intently serve` in a process of its own, over real sockets:

B1  SIGKILL in the middle of 100 publications (at each file operation in turn, every third at any time): after
    each, the live version loads, every version that can be seen is whole, and the service answers.
B2  1,000 single flipped bits: each is refused when it is promoted, and the old version goes on.
B3  100 truncations: the same.
B4  Roll-back: seconds until the version before answers, and whether its lists are those it gave before.
B5  20 swaps while clients ask: failed requests.

With --home, B2 to B5 use the shop's own live version, and a second version of the same model.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import shutil
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

from record import record

TESTS = Path(__file__).resolve().parent.parent / "tests"
sys.path[:0] = [str(TESTS), str(TESTS / "serving"), str(TESTS / "reliability")]

import artifacts as faults  # noqa: E402
from served import Running, boosted, grocery, keep, publish, repeat, running  # noqa: E402

from intently import artifact  # noqa: E402


def main() -> None:
    """Every figure once, one line."""
    wanted = parser().parse_args()
    with tempfile.TemporaryDirectory() as scratch:
        home = made(wanted.home, Path(scratch) / "home")
        root = home / "artifacts"
        with running(home) as service:
            users = [u["user_id"] for u in service.client.get("/v1/users?n=20").json()["users"]]
            shop = service.client.get("/v1/shop").json()
            row = {"model": shop["model"], "n_items": shop["n_items"], "n_users": shop["n_users"]}
            row |= damage(service, root, users, wanted.flips, wanted.cuts)
            row |= roll_backs(service, root, users, wanted.roll_backs)
            row |= swaps(service, root, users, wanted.swaps, wanted.clients)
            if wanted.home is None:
                row |= kills(service, root, wanted.kills)
    print(json.dumps(record("reliability_artifacts", row, wanted.out)))


def parser() -> argparse.ArgumentParser:
    """The command line."""
    made = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else None)
    made.add_argument("--home", type=Path, default=None, help="a shop's folder with a live model; copied")
    made.add_argument("--kills", type=int, default=100)
    made.add_argument("--flips", type=int, default=1000)
    made.add_argument("--cuts", type=int, default=100)
    made.add_argument("--roll-backs", type=int, default=5)
    made.add_argument("--swaps", type=int, default=20)
    made.add_argument("--clients", type=int, default=4, help="that ask during the swaps")
    made.add_argument("--out", type=Path, default=None, help="results file instead of the usual one")
    return made


def made(given: Path | None, home: Path) -> Path:
    """A folder with two versions, the second one live."""
    if given is None:
        home.mkdir()
        shop = grocery()
        keep(home, shop)
        publish(home, shop, repeat(shop), stage="quick")
        publish(home, shop, boosted(shop))
        return home
    (home / "artifacts").mkdir(parents=True)
    for name in ("store.db", "store.db-wal"):
        if (given / name).exists():
            shutil.copy2(given / name, home / name)
    live = artifact.live(given / "artifacts")
    if live is None:
        raise SystemExit(f"no model is live in {given}")
    for name in (f"{live.name}-copy", live.name):
        seal(Path(shutil.copytree(live, home / "artifacts" / name)))
        artifact.promote(home / "artifacts", name)
    return home


def seal(folder: Path) -> None:
    """A copy of an earlier release's folder, with the seal of this one's."""
    said = json.loads((folder / artifact.MANIFEST).read_bytes()) | {"format": artifact.FORMAT}
    text = json.dumps(said).encode()
    (folder / artifact.MANIFEST).write_bytes(text)
    (folder / artifact.SEAL).write_text(hashlib.sha256(text).hexdigest(), encoding="ascii")


def kills(service: Running, root: Path, n: int) -> dict[str, Any]:
    """B1."""
    unservable, killed, failed = 0, 0, 0
    with faults.publisher(root) as told:
        steps = told.tell("count").split()[1:]
        for moment in faults.moments(n, steps, 0.05):
            while told.tell(moment) != "killed":  # it had ended by then: the same again
                moment = f"after {float(moment.split()[1]) / 2:.4f}" if "after" in moment else "step 30"
            killed += 1
            unservable += bool(faults.unservable(root))
            answer = service.client.get("/v1/recommendations/u003?n=5")
            failed += answer.status_code != 200 or answer.json()["degraded"]
        told.tell("whole")
    left = len(list(root.glob(".writing-*")))
    return {
        "b1_kills": killed,
        "b1_unservable": unservable,
        "b1_failed_answers": failed,
        "b1_left_behind": left,
    }


def damage(service: Running, root: Path, users: list[str], flips: int, cuts: int) -> dict[str, Any]:
    """B2 and B3."""
    live = service.recommend(users[0])["model_version"]
    other = next(version for version in artifact.versions(root) if version != live)
    before, pointer = faults.lists(service, users[:5]), (root / "live.json").read_bytes()
    refused, went_on = {"cut": 0, "flip": 0}, 0
    for path, said, what in faults.damages(root / other, flips, cuts):
        with faults.damaged(path, said):
            status = faults.swap(service, other).status_code
        moved = (root / "live.json").read_bytes() != pointer
        refused["cut" if " cut to " in what else "flip"] += status == 409 and not moved
        if status != 409 or moved:
            print(f"taken: {what}", file=sys.stderr)
        went_on += service.recommend(users[0])["model_version"] == live
    return {
        "b2_flips": flips,
        "b2_refused": refused["flip"],
        "b3_cuts": cuts,
        "b3_refused": refused["cut"],
        "b2_b3_old_one_answered": went_on,
        "b2_b3_same_lists_after": faults.lists(service, users[:5]) == before,
    }


def roll_backs(service: Running, root: Path, users: list[str], n: int) -> dict[str, Any]:
    """B4: the slowest of n, from the request to an answer of the version before."""
    slowest_s, same = 0.0, 0
    live = service.recommend(users[0])["model_version"]
    other = next(version for version in artifact.versions(root) if version != live)
    for _ in range(n):
        faults.swap(service, other)
        before = faults.lists(service, users)
        faults.swap(service, live)
        began = time.perf_counter()
        service.client.post("/v1/models:roll-back", json={})
        answered = service.recommend(users[0])["model_version"]
        slowest_s = max(slowest_s, time.perf_counter() - began)
        same += answered == other and faults.lists(service, users) == before
        faults.swap(service, live)
    return {"b4_roll_backs": n, "b4_slowest_s": round(slowest_s, 3), "b4_same_lists": same}


def swaps(service: Running, root: Path, users: list[str], n: int, clients: int) -> dict[str, Any]:
    """B5."""
    versions = artifact.versions(root)[:2]
    took_s, at_once = [], 0
    with faults.Askers(service.address, users, clients) as asked:
        for i in range(n):
            began = time.perf_counter()
            faults.swap(service, versions[i % 2])
            took_s.append(time.perf_counter() - began)
            at_once += service.recommend(users[0])["model_version"] == versions[i % 2]
            time.sleep(0.2)
    return {
        "b5_swaps": n,
        "b5_at_once": at_once,
        "b5_clients": clients,
        "b5_answers": asked.answers,
        "b5_failed": len(asked.failed),
        "b5_slowest_swap_s": round(max(took_s), 3),
    }


if __name__ == "__main__":
    main()
